"""The picture: a window or an off-screen canvas, and the face drawn on it by pyrender.

The scene is built once. A moving face rewrites its vertices in the buffers that are there, so an evening of frames
needs no more memory than the first. Everything here belongs to the one thread that made it, which on macOS must be
the main thread.

pyrender keeps scene, camera, lights and draw calls; the shaders are ours (``demo/shaders``), made for skin and for
processors that draw without a graphics card.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from demo.canvas import Canvas, DisplayError, OffscreenCanvas, WindowCanvas
from demo.look import Batch, Look, batches, camera_pose, field_of_view, light_pose
from demo.opengl import Painter, Patches, Target, shader_source
from demo.overlay import Patch
from demo.quality import HIGH, LOW, LOWEST, MEDIUM, Quality

__all__ = [
    "HIGH",
    "LOW",
    "LOWEST",
    "MEDIUM",
    "Canvas",
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
        self._scene = _Scene(look)
        self._passes = _make_passes(Painter(self._gl, "backdrop", "aspect"))
        self._target = Target(self._gl)
        self._resolved = Target(self._gl)
        self._picture = Target(self._gl)
        self._patches = Patches(self._gl)
        self._softener = Painter(self._gl, "smooth", "texel")

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
        for part in (self._patches, self._softener, self._target, self._resolved, self._picture):
            part.delete()
        self.canvas.close()

    def _draw_scene(self, width: int, height: int) -> None:
        shrink = min(1.0, (self.quality.most_pixels / (width * height)) ** 0.5)
        size = max(round(width * shrink), 1), max(round(height * shrink), 1)
        direct = shrink == 1.0 and not self.quality.samples and not self.quality.soften
        target = self._picture if direct else self._target
        target.resize(*size, samples=self.quality.samples)
        self._passes.target = target
        self._passes.per_pixel = self.quality.per_pixel
        self._scene.frame(width / height)
        self._passes.viewport_width, self._passes.viewport_height = size
        self._passes.render(self._scene.scene, flags=0)
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


def _make_passes(backdrop: Painter) -> Any:  # noqa: ANN401 - pyrender's Renderer, known only once OpenGL is loaded
    """pyrender's renderer, drawing with our shaders over our backdrop into a target of our choice."""
    import pyrender
    from pyrender.shader_program import ShaderProgram

    class Program(ShaderProgram):
        def _load(self, shader_filename: str) -> str:
            return shader_source(shader_filename, self.defines)

    class Passes(pyrender.Renderer):
        target: Target
        per_pixel = False

        def __init__(self) -> None:
            super().__init__(1, 1)
            self.dpscale = 1  # sizes are pixels already, on Retina displays too
            self._program_cache = self._programs = _Programs(Program)

        def _get_primitive_program(self, primitive: Any, flags: int, program_flags: int) -> Any:  # noqa: ANN401
            self._programs.extra = {"PER_PIXEL": 1} if self.per_pixel else {}
            return super()._get_primitive_program(primitive, flags, program_flags)

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


class _Programs:
    """Our shaders in the place of pyrender's."""

    def __init__(self, program: type[Any]) -> None:
        self.extra: dict[str, int] = {}  # definitions beside pyrender's
        self._program = program
        self._made: dict[tuple[tuple[str, int], ...], Any] = {}

    def get_program(self, vertex_shader: str, fragment_shader: str, geometry_shader: None, defines: dict) -> Any:  # noqa: ANN401
        defines = {**defines, **self.extra}
        key = tuple(sorted(defines.items()))
        if key not in self._made:
            self._made[key] = self._program(vertex_shader, fragment_shader, geometry_shader, defines=defines)
        return self._made[key]

    def clear(self) -> None:
        for program in self._made.values():
            program.delete()
        self._made = {}
