"""The few pieces of OpenGL beside pyrender: targets to draw into, flat shapes, images laid over the picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demo.canvas import DisplayError
from demo.overlay import Patch

SHADERS = Path(__file__).resolve().parent / "shaders"


def shader_source(name: str, defines: dict[str, object] | None = None) -> str:
    """The text of a shader of ours, with its definitions and what it includes."""
    lines = [f"#define {key} {value}" for key, value in (defines or {}).items()]
    text = (SHADERS / name).read_text("utf-8")
    text = text.replace('#include "lighting.glsl"', (SHADERS / "lighting.glsl").read_text("utf-8"))
    return "\n".join(["#version 330 core", *lines, text])


class Target:
    """A framebuffer that is rebuilt when its size changes."""

    def __init__(self, gl: Any) -> None:  # noqa: ANN401 - the OpenGL module
        self._gl = gl
        self.size = (0, 0)
        self._samples = -1
        self.name = 0
        self.texture = 0  # the colours, where there is one sample a pixel
        self._buffers: list[int] = []

    def resize(self, width: int, height: int, samples: int) -> None:
        if (self.size, self._samples) == ((width, height), samples):
            return
        gl = self._gl
        self.delete()
        self.size, self._samples = (width, height), samples
        self.name = int(gl.glGenFramebuffers(1))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self.name)
        self._buffers = [self._attach(gl.GL_DEPTH_COMPONENT24, gl.GL_DEPTH_ATTACHMENT)]
        if samples:
            self._buffers.append(self._attach(gl.GL_RGBA8, gl.GL_COLOR_ATTACHMENT0))
        else:
            self.texture = upload(gl, np.zeros((height, width, 4), np.uint8), smooth=True)
            gl.glFramebufferTexture2D(gl.GL_FRAMEBUFFER, gl.GL_COLOR_ATTACHMENT0, gl.GL_TEXTURE_2D, self.texture, 0)
        if gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER) != gl.GL_FRAMEBUFFER_COMPLETE:
            raise DisplayError(
                f"OpenGL cannot draw {width}x{height} pixels with {samples} samples; use a smaller --size."
            )

    def copy_to(self, other: "Target") -> None:
        """Copy the colours, resolving samples or scaling."""
        self._copy(other.name, other.size)

    def copy_to_screen(self) -> None:
        """Copy the colours to the window."""
        self._copy(0, self.size)

    def read(self) -> np.ndarray:
        """The colours, uint8 [H, W, 3], top row first; a view, so that whoever needs them in a row copies them."""
        gl = self._gl
        width, height = self.size
        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self.name)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        pixels = np.empty((height, width, 4), np.uint8)
        gl.glReadPixels(0, 0, width, height, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, pixels)
        return pixels[::-1, :, :3]

    def delete(self) -> None:
        if self.name:
            self._gl.glDeleteFramebuffers(1, [self.name])
            self._gl.glDeleteRenderbuffers(len(self._buffers), self._buffers)
        if self.texture:
            self._gl.glDeleteTextures(1, [self.texture])
        self.name = self.texture = 0
        self.size, self._samples = (0, 0), -1

    def _attach(self, kind: Any, point: Any) -> int:  # noqa: ANN401 - OpenGL constants
        gl = self._gl
        buffer = int(gl.glGenRenderbuffers(1))
        gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, buffer)
        gl.glRenderbufferStorageMultisample(gl.GL_RENDERBUFFER, self._samples, kind, *self.size)
        gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, point, gl.GL_RENDERBUFFER, buffer)
        return buffer

    def _copy(self, name: int, size: tuple[int, int]) -> None:
        gl = self._gl
        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self.name)
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, name)
        smooth = gl.GL_NEAREST if size == self.size else gl.GL_LINEAR
        gl.glBlitFramebuffer(0, 0, *self.size, 0, 0, *size, gl.GL_COLOR_BUFFER_BIT, smooth)


class Painter:
    """A program that paints flat shapes whose corners the vertex shader makes up."""

    def __init__(self, gl: Any, shader: str, uniform: str) -> None:  # noqa: ANN401 - the OpenGL module
        from OpenGL.GL import shaders

        self._gl = gl
        self._vertices = gl.glGenVertexArrays(1)  # empty, but OpenGL wants one
        gl.glBindVertexArray(self._vertices)
        self._program = shaders.compileProgram(
            shaders.compileShader(shader_source(f"{shader}.vert"), gl.GL_VERTEX_SHADER),
            shaders.compileShader(shader_source(f"{shader}.frag"), gl.GL_FRAGMENT_SHADER),
        )
        gl.glBindVertexArray(0)
        self._uniform = gl.glGetUniformLocation(self._program, uniform)

    def paint(self, corners: int, *values: float) -> None:
        """A strip of triangles, with the shader's one uniform set to ``values``."""
        gl = self._gl
        gl.glUseProgram(self._program)
        gl.glBindVertexArray(self._vertices)
        (gl.glUniform1f if len(values) == 1 else gl.glUniform4f)(self._uniform, *values)
        gl.glDrawArrays(gl.GL_TRIANGLE_STRIP, 0, corners)
        gl.glBindVertexArray(0)
        gl.glUseProgram(0)

    def delete(self) -> None:
        self._gl.glDeleteProgram(self._program)
        self._gl.glDeleteVertexArrays(1, [self._vertices])


class Patches:
    """Small images over the picture. A texture is uploaded when its patch is first seen and freed when it is gone."""

    def __init__(self, gl: Any) -> None:  # noqa: ANN401 - the OpenGL module
        self._gl = gl
        self._painter = Painter(gl, "overlay", "rectangle")
        self._textures: dict[int, tuple[Patch, int]] = {}  # by the patch's identity; holding it keeps that unique

    def draw(self, patches: Sequence[Patch], target: Target) -> None:
        gl = self._gl
        self._forget({id(patch) for patch in patches})
        if not patches:
            return
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, target.name)
        gl.glViewport(0, 0, *target.size)
        gl.glDisable(gl.GL_DEPTH_TEST)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFunc(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA)
        gl.glActiveTexture(gl.GL_TEXTURE0)
        for patch in patches:
            gl.glBindTexture(gl.GL_TEXTURE_2D, self._texture(patch))
            self._painter.paint(4, *_clip_rectangle(patch, target.size))

    def delete(self) -> None:
        self._forget(set())
        self._painter.delete()

    def _texture(self, patch: Patch) -> int:
        if id(patch) not in self._textures:
            self._textures[id(patch)] = (patch, upload(self._gl, patch.pixels))
        return self._textures[id(patch)][1]

    def _forget(self, wanted: set[int]) -> None:
        for key in self._textures.keys() - wanted:
            self._gl.glDeleteTextures(1, [self._textures.pop(key)[1]])


def upload(gl: Any, pixels: np.ndarray, smooth: bool = False) -> int:  # noqa: ANN401 - the OpenGL module
    """A new texture of uint8 [H, W, 4]; ``smooth``: interpolated between pixels."""
    name = int(gl.glGenTextures(1))
    gl.glBindTexture(gl.GL_TEXTURE_2D, name)
    gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
    for parameter in (gl.GL_TEXTURE_MIN_FILTER, gl.GL_TEXTURE_MAG_FILTER):
        gl.glTexParameteri(gl.GL_TEXTURE_2D, parameter, gl.GL_LINEAR if smooth else gl.GL_NEAREST)
    for parameter in (gl.GL_TEXTURE_WRAP_S, gl.GL_TEXTURE_WRAP_T):
        gl.glTexParameteri(gl.GL_TEXTURE_2D, parameter, gl.GL_CLAMP_TO_EDGE)
    height, width = pixels.shape[:2]
    rgba = np.ascontiguousarray(pixels)
    gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, width, height, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, rgba)
    return name


def _clip_rectangle(patch: Patch, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a patch in OpenGL's -1 … 1."""
    (width, height), (rows, columns) = size, patch.pixels.shape[:2]
    left, top = 2 * patch.left / width - 1, 1 - 2 * patch.top / height
    return left, top - 2 * rows / height, left + 2 * columns / width, top
