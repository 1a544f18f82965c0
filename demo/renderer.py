"""The picture: a window or an off-screen canvas, and the face drawn on it by pyrender.

The scene is built once. A moving face rewrites its vertices in the buffers that are there, so an evening of frames
needs no more memory than the first. Everything here belongs to the one thread that made it, which on macOS must be
the main thread.

pyrender keeps scene, camera, lights and draw calls; the shaders are ours (``demo/shaders``), made for skin and for
processors that draw without a graphics card.
"""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from demo.look import Batch, Look, batches, camera_pose, field_of_view, light_pose
from demo.overlay import Patch
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

SHADERS = Path(__file__).resolve().parent / "shaders"
_LIGHTS = (  # direction to the light (right, up, front), linear colour, intensity
    ((-0.55, 0.55, 0.75), (1.0, 0.95, 0.88), 0.62),  # key
    ((0.80, 0.10, 0.60), (0.85, 0.92, 1.0), 0.22),  # fill
    ((0.45, 0.55, -0.75), (0.9, 0.95, 1.0), 0.55),  # rim
)
_SKY = (0.20, 0.21, 0.23)  # linear colour of the light from everywhere


class DisplayError(UserError):
    """No window, or no OpenGL."""


@dataclass(frozen=True)
class Quality:
    """What a picture may cost."""

    name: str
    samples: int  # of multisampling; 0: none
    most_pixels: int  # of the scene; a larger picture is drawn smaller and magnified


LOW = Quality("low", 0, 450_000)
MEDIUM = Quality("medium", 4, 450_000)
HIGH = Quality("high", 4, 4_000_000)


class Canvas(Protocol):
    """Something with an OpenGL context of this thread, where pictures are shown."""

    size: tuple[int, int]  # width and height in pixels
    visible: bool  # whether a finished picture must be copied to framebuffer 0

    def make_current(self) -> None:
        """Direct OpenGL calls here."""

    def show(self) -> None:
        """Swap buffers: what was drawn is shown."""

    def close(self) -> None:
        """Free everything."""


class OffscreenCanvas:
    """No window: pictures are only read back. EGL on Linux, a hidden window elsewhere."""

    visible = False

    def __init__(self, width: int, height: int) -> None:
        """Raises DisplayError where there is no OpenGL."""
        self.size = (width, height)
        _load_opengl("egl" if sys.platform.startswith("linux") else None)
        try:
            self._platform = _hidden_platform()
            self._platform.init_context()
            self._platform.make_current()
        except Exception as error:  # EGL fails with assertions, ctypes and PyOpenGL errors alike
            raise DisplayError(
                f"OpenGL does not start ({type(error).__name__}: {error}); on Debian or Ubuntu run "
                "'sudo apt-get install libegl1 libgl1-mesa-dri'."
            ) from error

    def make_current(self) -> None:
        """Direct OpenGL calls here."""
        self._platform.make_current()

    def show(self) -> None:
        """Nobody looks."""

    def close(self) -> None:
        """Free everything."""
        self._platform.delete_context()


class WindowCanvas:
    """A real window: resizable, with keys."""

    visible = True

    def __init__(
        self, width: int, height: int, *, title: str = "StreamingTalker", fullscreen: bool = False, vsync: bool = True
    ) -> None:
        """Raises DisplayError where there is no display."""
        _load_opengl(None)
        try:
            self._window = _open_window(width, height, title, fullscreen, vsync)
        except Exception as error:  # each platform of pyglet has its own
            raise DisplayError(
                f"No window opens ({type(error).__name__}: {error}); run with --headless to do without one."
            ) from error
        self.closed = False  # the user asked for it
        self._keys: list[str] = []
        self._window.push_handlers(on_key_press=self._on_key, on_close=self._on_close)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self._window.get_framebuffer_size()
        return max(width, 1), max(height, 1)

    def make_current(self) -> None:
        """Direct OpenGL calls here."""
        self._window.switch_to()

    def show(self) -> None:
        """Swap buffers: what was drawn is shown."""
        self._window.flip()

    def poll(self) -> list[str]:
        """Let the window react to the user; names of the keys pressed since the last call, as in "F", "ESCAPE"."""
        self._window.dispatch_events()
        keys, self._keys = self._keys, []
        return keys

    def toggle_fullscreen(self) -> None:
        """Fill the screen, or be a window again."""
        self._window.set_fullscreen(not self._window.fullscreen)

    def close(self) -> None:
        """Close the window."""
        self._window.close()

    def _on_key(self, symbol: int, _modifiers: int) -> bool:
        from pyglet.window import key

        self._keys.append(key.symbol_string(symbol))
        return True  # handled: pyglet itself would close the window at Escape

    def _on_close(self) -> bool:
        self.closed = True
        return True


class Renderer:
    """Draws one face on one canvas."""

    def __init__(self, look: Look, canvas: Canvas, quality: Quality = MEDIUM) -> None:
        self.canvas = canvas
        self.quality = quality
        self._look = look
        canvas.make_current()
        self._gl = sys.modules["OpenGL.GL"]
        self.device = str(self._gl.glGetString(self._gl.GL_RENDERER), "utf-8", "replace")  # as the driver calls it
        self._scene = _Scene(look)
        self._passes = _make_passes(_Painter(self._gl, "backdrop", "aspect"))
        self._target = _Target(self._gl)
        self._resolved = _Target(self._gl)
        self._picture = _Target(self._gl)
        self._patches = _Patches(self._gl)

    @property
    def software(self) -> bool:
        """Whether the processor draws, for want of a graphics card."""
        return any(name in self.device.lower() for name in ("llvmpipe", "softpipe", "swrast", "swiftshader"))

    def draw(self, vertices: np.ndarray, patches: Sequence[Patch] = ()) -> None:
        """Draw the face with ``vertices`` float32 [V, 3] in metres, and ``patches`` over it; returns when done."""
        self.canvas.make_current()
        self._scene.move(self._gl, vertices)
        width, height = self.canvas.size
        self._picture.resize(width, height, samples=0)
        self._draw_scene(width, height)
        self._patches.draw(patches, self._picture)
        self._gl.glFinish()

    def present(self) -> None:
        """Show what was drawn; returns when it is handed to the display."""
        if not self.canvas.visible:
            return
        self.canvas.make_current()
        self._picture.copy_to_screen()
        self.canvas.show()
        self._gl.glFinish()

    def read_pixels(self) -> np.ndarray:
        """The picture drawn last, uint8 [H, W, 3] sRGB, top row first."""
        self.canvas.make_current()
        return self._picture.read()

    def close(self) -> None:
        """Free everything, the canvas too."""
        self.canvas.make_current()
        self._passes.delete()
        for part in (self._patches, self._target, self._resolved, self._picture):
            part.delete()
        self.canvas.close()

    def _draw_scene(self, width: int, height: int) -> None:
        shrink = min(1.0, (self.quality.most_pixels / (width * height)) ** 0.5)
        size = max(round(width * shrink), 1), max(round(height * shrink), 1)
        direct = shrink == 1.0 and not self.quality.samples
        target = self._picture if direct else self._target
        target.resize(*size, samples=self.quality.samples)
        self._passes.target = target
        self._scene.frame(width / height)
        self._passes.viewport_width, self._passes.viewport_height = size
        self._passes.render(self._scene.scene, flags=0)
        if direct:
            return
        source = self._target
        if shrink < 1.0 and self.quality.samples:  # OpenGL does not resolve samples and scale at once
            self._resolved.resize(*size, samples=0)
            self._target.copy_to(self._resolved)
            source = self._resolved
        source.copy_to(self._picture)


class _Scene:
    """pyrender's scene: the face's batches, camera and lights."""

    def __init__(self, look: Look) -> None:
        import pyrender

        self._look = look
        self.scene = pyrender.Scene(ambient_light=np.array(_SKY), bg_color=np.zeros(4))
        self._camera = pyrender.PerspectiveCamera(yfov=0.4, znear=0.1, zfar=10.0)
        eye = camera_pose(look)
        self.scene.add(self._camera, pose=eye)
        for direction, color, intensity in _LIGHTS:
            light = pyrender.DirectionalLight(color=np.array(color), intensity=intensity)
            self.scene.add(light, pose=light_pose(direction))
        self._moving = [(batch, _primitive(batch)) for batch in batches(look)]
        self.scene.add(pyrender.Mesh([primitive for _, primitive in self._moving]))

    def frame(self, aspect: float) -> None:
        """Fit head and shoulders into a picture of that width over height."""
        self._camera.yfov = field_of_view(self._look, aspect)

    def move(self, gl: Any, vertices: np.ndarray) -> None:  # noqa: ANN401 - the OpenGL module
        """Rewrite the vertex buffers."""
        positions = self._look.surface(vertices)
        normals = self._look.normals(positions)
        for batch, primitive in self._moving:
            batch.move(positions, normals)
            if primitive._vaid is None:  # not uploaded yet: the first rendering does that
                primitive.positions, primitive.normals = batch.data[:, :3], batch.data[:, 3:6]
                continue
            gl.glBindBuffer(gl.GL_ARRAY_BUFFER, primitive._buffers[0])
            gl.glBufferSubData(gl.GL_ARRAY_BUFFER, 0, batch.data.nbytes, batch.data)


class _Target:
    """A framebuffer that is rebuilt when its size changes."""

    def __init__(self, gl: Any) -> None:  # noqa: ANN401 - the OpenGL module
        self._gl = gl
        self.size = (0, 0)
        self._samples = -1
        self.name = 0
        self._color = self._depth = 0

    def resize(self, width: int, height: int, samples: int) -> None:
        if (self.size, self._samples) == ((width, height), samples):
            return
        gl = self._gl
        self.delete()
        self.size, self._samples = (width, height), samples
        self._color, self._depth = (int(name) for name in gl.glGenRenderbuffers(2))
        self.name = int(gl.glGenFramebuffers(1))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self.name)
        self._attach(self._color, gl.GL_RGBA8, gl.GL_COLOR_ATTACHMENT0)
        self._attach(self._depth, gl.GL_DEPTH_COMPONENT24, gl.GL_DEPTH_ATTACHMENT)
        if gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER) != gl.GL_FRAMEBUFFER_COMPLETE:
            raise DisplayError(
                f"OpenGL cannot draw {width}x{height} pixels with {samples} samples; use a smaller --size."
            )

    def copy_to(self, other: "_Target") -> None:
        """Copy the colours, resolving samples or scaling."""
        self._copy(other.name, other.size)

    def copy_to_screen(self) -> None:
        """Copy the colours to the window."""
        self._copy(0, self.size)

    def read(self) -> np.ndarray:
        gl = self._gl
        width, height = self.size
        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self.name)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        pixels = np.empty((height, width, 4), np.uint8)
        gl.glReadPixels(0, 0, width, height, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, pixels)
        return np.ascontiguousarray(pixels[::-1, :, :3])

    def delete(self) -> None:
        if self.name:
            self._gl.glDeleteFramebuffers(1, [self.name])
            self._gl.glDeleteRenderbuffers(2, [self._color, self._depth])
        self.name, self.size, self._samples = 0, (0, 0), -1

    def _attach(self, buffer: int, kind: Any, point: Any) -> None:  # noqa: ANN401 - OpenGL constants
        gl = self._gl
        gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, buffer)
        gl.glRenderbufferStorageMultisample(gl.GL_RENDERBUFFER, self._samples, kind, *self.size)
        gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, point, gl.GL_RENDERBUFFER, buffer)

    def _copy(self, name: int, size: tuple[int, int]) -> None:
        gl = self._gl
        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self.name)
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, name)
        smooth = gl.GL_NEAREST if size == self.size else gl.GL_LINEAR
        gl.glBlitFramebuffer(0, 0, *self.size, 0, 0, *size, gl.GL_COLOR_BUFFER_BIT, smooth)


class _Painter:
    """A program that paints flat shapes whose corners the vertex shader makes up."""

    def __init__(self, gl: Any, shader: str, uniform: str) -> None:  # noqa: ANN401 - the OpenGL module
        from OpenGL.GL import shaders

        self._gl = gl
        self._vertices = gl.glGenVertexArrays(1)  # empty, but OpenGL wants one
        gl.glBindVertexArray(self._vertices)
        self._program = shaders.compileProgram(
            shaders.compileShader((SHADERS / f"{shader}.vert").read_text("utf-8"), gl.GL_VERTEX_SHADER),
            shaders.compileShader((SHADERS / f"{shader}.frag").read_text("utf-8"), gl.GL_FRAGMENT_SHADER),
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


class _Patches:
    """Small images over the picture. A texture is uploaded when its patch is first seen and freed when it is gone."""

    def __init__(self, gl: Any) -> None:  # noqa: ANN401 - the OpenGL module
        self._gl = gl
        self._painter = _Painter(gl, "overlay", "rectangle")
        self._textures: dict[int, tuple[Patch, int]] = {}  # by the patch's identity; holding it keeps that unique

    def draw(self, patches: Sequence[Patch], target: _Target) -> None:
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
            self._textures[id(patch)] = (patch, _upload(self._gl, patch.pixels))
        return self._textures[id(patch)][1]

    def _forget(self, wanted: set[int]) -> None:
        for key in self._textures.keys() - wanted:
            self._gl.glDeleteTextures(1, [self._textures.pop(key)[1]])


def _upload(gl: Any, pixels: np.ndarray) -> int:  # noqa: ANN401 - the OpenGL module
    name = int(gl.glGenTextures(1))
    gl.glBindTexture(gl.GL_TEXTURE_2D, name)
    gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
    for parameter in (gl.GL_TEXTURE_MIN_FILTER, gl.GL_TEXTURE_MAG_FILTER):
        gl.glTexParameteri(gl.GL_TEXTURE_2D, parameter, gl.GL_NEAREST)
    height, width = pixels.shape[:2]
    rgba = np.ascontiguousarray(pixels)
    gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, width, height, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, rgba)
    return name


def _clip_rectangle(patch: Patch, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a patch in OpenGL's -1 … 1."""
    (width, height), (rows, columns) = size, patch.pixels.shape[:2]
    left, top = 2 * patch.left / width - 1, 1 - 2 * patch.top / height
    return left, top - 2 * rows / height, left + 2 * columns / width, top


def _primitive(batch: Batch) -> Any:  # noqa: ANN401 - pyrender's Primitive
    import pyrender

    material = pyrender.MetallicRoughnessMaterial(
        doubleSided=batch.double_sided, alphaMode="BLEND" if batch.translucent else "OPAQUE"
    )
    data = batch.data
    return pyrender.Primitive(
        positions=data[:, :3],
        normals=data[:, 3:6],
        texcoord_0=data[:, 6:8],
        color_0=data[:, 8:12],
        indices=batch.faces,
        material=material,
    )


def _make_passes(backdrop: _Painter) -> Any:  # noqa: ANN401 - pyrender's Renderer, known only once OpenGL is loaded
    """pyrender's renderer, drawing with our shaders over our backdrop into a target of our choice."""
    import pyrender
    from pyrender.shader_program import ShaderProgramCache

    class Passes(pyrender.Renderer):
        target: _Target

        def __init__(self) -> None:
            super().__init__(1, 1)
            self.dpscale = 1  # sizes are pixels already, on Retina displays too
            self._program_cache = ShaderProgramCache(shader_dir=str(SHADERS))

        def _configure_forward_pass_viewport(self, flags: int) -> None:
            super()._configure_forward_pass_viewport(flags)
            gl = sys.modules["OpenGL.GL"]
            gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, self.target.name)

        def _sorted_mesh_nodes(self, scene: Any) -> list[Any]:  # noqa: ANN401 - pyrender's Scene
            """Called when the target has been cleared and nothing is drawn yet."""
            gl = sys.modules["OpenGL.GL"]
            for switch in (gl.GL_DEPTH_TEST, gl.GL_BLEND, gl.GL_CULL_FACE):
                gl.glDisable(switch)
            backdrop.paint(3, self.viewport_width / self.viewport_height)
            gl.glEnable(gl.GL_DEPTH_TEST)
            return super()._sorted_mesh_nodes(scene)

        def delete(self) -> None:
            backdrop.delete()
            super().delete()

    return Passes()


def _hidden_platform() -> Any:  # noqa: ANN401 - one of pyrender's platforms
    if sys.platform.startswith("linux"):
        from pyrender.platforms.egl import EGLPlatform

        return EGLPlatform(1, 1)
    from pyrender.platforms.pyglet_platform import PygletPlatform

    return PygletPlatform(1, 1)


def _open_window(width: int, height: int, title: str, fullscreen: bool, vsync: bool) -> Any:  # noqa: ANN401 - pyglet's
    import pyglet

    pyglet.options["shadow_window"] = False
    import pyglet.window

    config: Any = pyglet.gl.Config(  # type: ignore[abstract]  # pyglet makes the platform's own of it
        double_buffer=True, major_version=3, minor_version=3, depth_size=0
    )
    size = {} if fullscreen else {"width": width, "height": height}
    return pyglet.window.Window(
        **size, caption=title, resizable=True, fullscreen=fullscreen, vsync=vsync, config=config
    )


def _load_opengl(platform: str | None) -> None:
    """Import PyOpenGL for that platform (None: the system's own). One process can only ever use one."""
    if "OpenGL.platform" in sys.modules:
        loaded = type(sys.modules["OpenGL.platform"].PLATFORM).__name__.lower()
        if (platform == "egl") != loaded.startswith("egl"):
            raise DisplayError("A process draws either in windows or off-screen; start another one for the other.")
    elif platform is not None:
        os.environ["PYOPENGL_PLATFORM"] = platform  # PyOpenGL has no other way to be told
    else:
        os.environ.pop("PYOPENGL_PLATFORM", None)
    import OpenGL

    if platform == "egl":
        import OpenGL.EGL  # cannot be imported without error checking
    OpenGL.ERROR_CHECKING = OpenGL.ERROR_LOGGING = False  # asking after every call doubles the calls
    import pyrender  # noqa: F401 - imports OpenGL.GL, for which the switches above must be set
