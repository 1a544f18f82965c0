"""The picture: a window or an off-screen canvas, and the face drawn on it by pyrender.

The scene is built once. A moving face rewrites its vertices in the buffers that are there, so an evening of frames
needs no more memory than the first. Everything here belongs to the one thread that made it, which on macOS must be
the main thread.

pyrender keeps scene, camera, lights and draw calls; the shaders are ours (``demo/shaders``), made for skin and for
processors that draw without a graphics card.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from demo.canvas import Canvas, ContextLostError, DisplayError, OffscreenCanvas, WindowCanvas
from demo.look import Batch, Look, batches, camera_pose, field_of_view, light_pose, turned
from demo.opengl import Painter, Patches, Target
from demo.overlay import Patch
from demo.passes import make_passes
from demo.quality import HIGH, LOW, LOWEST, MEDIUM, Quality
from demo.threads import yield_processors

__all__ = [
    "HIGH",
    "LOW",
    "LOWEST",
    "MEDIUM",
    "Canvas",
    "ContextLostError",
    "DisplayError",
    "OffscreenCanvas",
    "Quality",
    "Renderer",
    "WindowCanvas",
]

_LIGHTS = (  # direction to the light (right, up, front), linear colour, intensity
    ((-0.55, 0.55, 0.75), (1.0, 0.95, 0.88), 0.62),  # key
    ((0.80, 0.10, 0.60), (0.85, 0.92, 1.0), 0.22),  # fill
    ((0.45, 0.55, -0.75), (0.9, 0.95, 1.0), 0.55),  # rim
)
_TURNS = tuple((yaw, pitch) for yaw in range(-15, 16, 5) for pitch in (-8, 0, 8))  # degrees; heads turn less, see life/
_FINE = 700  # pixels of the square picture in which hair is looked for
_SKY = (0.20, 0.21, 0.23)  # linear colour of the light from everywhere


class Renderer:
    """Draws one face on one canvas."""

    def __init__(self, look: Look, canvas: Canvas, quality: Quality | None = None) -> None:
        """``quality`` None: what suits the machine, MEDIUM without a graphics card and HIGH with one."""
        self.canvas = canvas
        self._look = look
        canvas.make_current()
        self._gl = sys.modules["OpenGL.GL"]
        self.device = str(self._gl.glGetString(self._gl.GL_RENDERER), "utf-8", "replace")  # as the driver calls it
        self.quality = quality or (MEDIUM if self.software else HIGH)
        self._seen: list[np.ndarray] | None = None  # which triangles of each batch, once that was found out
        self._make()
        self._usual_error = self._gl.glGetError()  # a driver's manner

    def _make(self) -> None:
        """All that lives in the OpenGL context."""
        yield_processors("llvmpipe")  # each context has its own
        self._scene = _Scene(self._look)
        self._passes = make_passes()
        self._target = Target(self._gl)
        self._resolved = Target(self._gl)
        self._picture = Target(self._gl)
        self._patches = Patches(self._gl)
        self._softener = Painter(self._gl, "smooth", "texel")
        if self.software:
            self._leave_out_what_is_never_seen()

    @property
    def software(self) -> bool:
        """Whether the processor draws, for want of a graphics card."""
        return any(name in self.device.lower() for name in ("llvmpipe", "softpipe", "swrast", "swiftshader"))

    def draw(self, vertices: np.ndarray, patches: Sequence[Patch] = ()) -> None:
        """Draw the face with ``vertices`` float32 [V, 3] in metres, and ``patches`` over it; returns when done.

        Raises ContextLostError where nothing can be drawn before ``restore``.
        """
        with self._watched():
            self.canvas.make_current()
            self._scene.move(self._gl, vertices)
            width, height = self.canvas.size
            self._picture.resize(width, height, samples=0)
            self._draw_scene(width, height)
            self._patches.draw(patches, self._picture)
            self._gl.glFinish()
            self._check()

    def restore(self) -> None:
        """Make canvas and picture anew after a ContextLostError. Raises DisplayError where that cannot be."""
        with self._watched():
            self.canvas.restore()
            self.canvas.make_current()
            self._make()

    def present(self) -> None:
        """Show what was drawn; returns when it is handed to the display. Raises ContextLostError, DisplayError."""
        if not self.canvas.visible:
            return
        with self._watched():
            self.canvas.make_current()
            self._picture.copy_to_screen()
            self.canvas.show()
            self._gl.glFinish()

    def read_pixels(self) -> np.ndarray:
        """The picture drawn last, uint8 [H, W, 3] sRGB, top row first. Raises ContextLostError."""
        with self._watched():
            self.canvas.make_current()
            return self._picture.read()

    def close(self) -> None:
        """Free everything, the canvas too."""
        if self.canvas.lost:
            return  # everything is gone with it
        self.canvas.make_current()
        self._passes.delete()
        for part in (self._patches, self._softener, self._target, self._resolved, self._picture):
            part.delete()
        self.canvas.close()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Off-screen PyOpenGL tells of errors by itself."""
        try:
            yield
        except sys.modules["OpenGL.error"].Error as error:
            raise ContextLostError(type(error).__name__) from error

    def _check(self) -> None:
        """Raise ContextLostError where what was drawn was drawn nowhere."""
        if self._gl.glGetString(self._gl.GL_RENDERER) is None:
            raise ContextLostError("no context")
        error = self._gl.glGetError()
        if error not in (self._gl.GL_NO_ERROR, self._usual_error):
            raise ContextLostError(f"OpenGL error {error:#x}")

    def _draw_scene(self, width: int, height: int) -> None:
        shrink = min(1.0, (self.quality.most_pixels / (width * height)) ** 0.5)
        size = max(round(width * shrink), 1), max(round(height * shrink), 1)
        direct = shrink == 1.0 and not self.quality.samples and not self.quality.soften
        target = self._picture if direct else self._target
        target.resize(*size, samples=self.quality.samples)
        self._scene.frame(width / height)
        self._passes.draw(self._scene.scene, target, self.quality.per_pixel)
        if direct:
            return
        refined = self._picture if shrink == 1.0 else self._resolved  # no step both refines and scales
        refined.resize(*size, samples=0)
        if self.quality.soften:
            self._soften(refined)
        else:
            self._target.copy_to(refined)
        if refined is not self._picture:
            refined.copy_to(self._picture)

    def _leave_out_what_is_never_seen(self) -> None:
        """Of hair, most lies under other hair. A graphics card draws that in no time; a processor is spared it."""
        self._target.resize(_FINE, _FINE, samples=0)
        self._scene.frame(1.0)
        self._scene.move(self._gl, self._look.template)
        self._passes.draw(self._scene.scene, self._target, per_pixel=False)  # uploads
        if self._seen is None:
            turns = (turned(self._look, *turn) for turn in _TURNS)
            self._seen = self._passes.seen(self._scene.scene, self._target, turns)
        self._scene.keep(self._gl, self._seen)

    def _soften(self, refined: Target) -> None:
        gl = self._gl
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, refined.name)
        for switch in (gl.GL_DEPTH_TEST, gl.GL_BLEND, gl.GL_CULL_FACE):
            gl.glDisable(switch)
        gl.glActiveTexture(gl.GL_TEXTURE0)
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._target.texture)
        self._softener.paint(3, 1 / refined.size[0], 1 / refined.size[1], 0.0, 0.0)


class _Scene:
    """pyrender's scene: the face's batches, camera and lights."""

    def __init__(self, look: Look) -> None:
        import pyrender

        self._look = look
        self.scene = pyrender.Scene(ambient_light=np.array(_SKY), bg_color=np.zeros(4))
        self._aspect = 0.0
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
        if aspect != self._aspect:  # measuring the face takes longer than moving it
            self._aspect, self._camera.yfov = aspect, field_of_view(self._look, aspect)

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

    def keep(self, gl: Any, seen: list[np.ndarray]) -> None:  # noqa: ANN401 - the OpenGL module
        """Draw only the hair that is ``seen``, bool [f] for each batch, from now on, and what it borders on."""
        for (batch, primitive), visible in zip(self._moving, seen, strict=True):
            touched = np.zeros(len(batch.data), bool)
            touched[batch.faces[visible]] = True
            faces = batch.faces[touched[batch.faces].any(axis=1) | ~batch.layered]
            primitive.indices = faces
            gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, primitive._buffers[2])
            gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, faces.nbytes, faces, gl.GL_STATIC_DRAW)


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
