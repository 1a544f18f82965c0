"""pyrender's renderer, drawing with our shaders over our backdrop, and telling which triangles can be seen at all.

pyrender itself would set some fifty uniforms for each primitive in each picture, a good millisecond.
"""

import ctypes
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from demo.opengl import Painter, Target, shader_source


def make_passes() -> Any:  # noqa: ANN401 - pyrender's Renderer, known only once OpenGL is loaded
    """pyrender's renderer, with ``draw`` and ``seen``. A canvas must be there."""
    import pyrender
    from pyrender.shader_program import ShaderProgram

    gl = sys.modules["OpenGL.GL"]

    class Program(ShaderProgram):
        def _load(self, shader_filename: str) -> str:
            return shader_source(shader_filename, self.defines)

    class Passes(pyrender.Renderer):
        target: Target
        program: Program

        def __init__(self) -> None:
            super().__init__(1, 1)
            self._backdrop = Painter(gl, "backdrop", "aspect")
            self._programs: dict[str, Program] = {}

        def draw(self, scene: Any, target: Target, per_pixel: bool) -> None:  # noqa: ANN401 - pyrender's Scene
            """Draw into ``target``, lit at every pixel or only at every vertex."""
            self.program = self._lit(scene, per_pixel)
            self._into(target)
            self.render(scene, flags=0)

        def seen(self, scene: Any, target: Target, turns: Iterable[np.ndarray]) -> list[np.ndarray]:  # noqa: ANN401
            """For each primitive, which triangles are seen when the face is turned so: bool [f].

            ``turns``: 4x4 matrices in the space of the face.
            """
            self._into(target)
            program = self._made("number")
            program._bind()
            primitives = [primitive for node in scene.mesh_nodes for primitive in node.mesh.primitives]
            counts = [len(primitive.indices) for primitive in primitives]
            found = np.zeros(sum(counts) + 1, bool)
            for turn in turns:
                gl.glClearColor(0, 0, 0, 0)
                gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
                program.set_uniform("camera", self._camera(scene) @ turn)
                for primitive, before in zip(primitives, np.cumsum([0, *counts[:-1]]), strict=True):
                    program.set_uniform("before", int(before) + 1)
                    self._bind_and_draw_primitive(primitive, None, program, 0)
                found[target.read() @ np.array([1, 256, 65536])] = True
            program._unbind()
            return np.split(found[1:], np.cumsum(counts[:-1]))

        def _forward_pass(self, scene: Any, flags: int, seg_node_map: None = None) -> None:  # noqa: ANN401
            for switch in (gl.GL_DEPTH_TEST, gl.GL_BLEND, gl.GL_CULL_FACE):
                gl.glDisable(switch)
            self._backdrop.paint(3, self.viewport_width / self.viewport_height)
            gl.glEnable(gl.GL_DEPTH_TEST)
            gl.glClear(gl.GL_DEPTH_BUFFER_BIT)
            self.program._bind()
            self.program.set_uniform("camera", self._camera(scene))
            for node in scene.mesh_nodes:
                for primitive in node.mesh.primitives:
                    self._bind_and_draw_primitive(primitive, None, self.program, flags)
            self.program._unbind()

        def _bind_and_draw_primitive(self, primitive: Any, pose: None, program: Program, flags: int) -> None:  # noqa: ANN401
            material = primitive.material
            (gl.glDisable if material.doubleSided else gl.glEnable)(gl.GL_CULL_FACE)
            blends = material.alphaMode == "BLEND"  # blending what is opaque costs, too
            (gl.glEnable if blends else gl.glDisable)(gl.GL_BLEND)
            gl.glBlendFunc(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA)
            gl.glBindVertexArray(primitive._vaid)
            gl.glDrawElements(gl.GL_TRIANGLES, primitive.indices.size, gl.GL_UNSIGNED_INT, ctypes.c_void_p(0))
            gl.glBindVertexArray(0)

        def _into(self, target: Target) -> None:
            gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, target.name)
            self.viewport_width, self.viewport_height = target.size
            gl.glViewport(0, 0, *target.size)

        def _camera(self, scene: Any) -> np.ndarray:  # noqa: ANN401 - pyrender's Scene
            view, projection = self._get_camera_matrices(scene)
            return np.asarray(projection @ view)

        def _lit(self, scene: Any, per_pixel: bool) -> Program:  # noqa: ANN401 - pyrender's Scene
            """The program that lights a face; the lights stand still."""
            if f"mesh{per_pixel}" in self._programs:
                return self._programs[f"mesh{per_pixel}"]
            program = self._made("mesh", {"PER_PIXEL": 1} if per_pixel else {}, f"mesh{per_pixel}")
            program._bind()
            program.set_uniform("cam_pos", scene.get_pose(scene.main_camera_node)[:3, 3])
            program.set_uniform("ambient_light", scene.ambient_light)
            for place, node in enumerate(scene.directional_light_nodes):
                program.set_uniform(f"to_light[{place}]", scene.get_pose(node)[:3, 2])
                program.set_uniform(f"radiance[{place}]", node.light.color * node.light.intensity)
            return program

        def _made(self, shader: str, defines: dict[str, int] | None = None, name: str | None = None) -> Program:
            key = name or shader
            if key not in self._programs:
                self._programs[key] = Program(f"{shader}.vert", f"{shader}.frag", None, defines=defines or {})
                self._programs[key]._add_to_context()
            return self._programs[key]

        def delete(self) -> None:
            self._backdrop.delete()
            for program in self._programs.values():
                program.delete()
            super().delete()

        def __del__(self) -> None:
            """Nothing: pyrender would free names that another context has given to others."""

    return Passes()
