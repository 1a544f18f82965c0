"""A head that speaks, as one binary glTF file: the drawn surface, its 52 ARKit morph targets and their curves.

What is drawn is a linear map of the talking mesh, so the map of each shape is a morph target, and the weights that pose
the talking mesh pose everything: skin, lids, teeth, hair. Each part of the surface is a primitive with a material of
its own. Sound is no part of glTF: ``extras`` names the file beside it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demo.avatar import Avatar, Part
from demo.export.arkit import Fit
from demo.export.gltf_parts import Numbers, gltf_library, triangles
from demo.look import camera_pose, field_of_view, linear

_UNMOVED = 1e-6  # metres: the 52 shapes together leave out less than 0.06 mm
_UNTURNED = 2e-3  # of a unit normal
_ASPECT = 16 / 9  # of the camera's picture


@dataclass(frozen=True)
class _Surface:
    """The drawn surface at rest and what each of S shapes does to it."""

    positions: np.ndarray  # float32 [R, 3] metres
    normals: np.ndarray  # float32 [R, 3]
    moves: np.ndarray  # float32 [S, R, 3] metres
    turns: np.ndarray  # float32 [S, R, 3], added to the normals
    colors: np.ndarray  # uint16 [R, 4] linear light and alpha, 65535 for 1


def write_gltf(path: Path, avatar: Avatar, fit: Fit, fps: float, sound: str | None = None) -> None:
    """Write ``path`` (.glb) with the avatar moved by the weights of ``fit`` at ``fps`` frames a second.

    ``sound``: the name of the file beside it. Raises ExportError where pygltflib is missing, OSError.
    """
    library = gltf_library()
    numbers = Numbers()
    mesh = _mesh(library, numbers, avatar)
    animation = _animation(library, numbers, fit, fps)
    views, content = numbers.buffer()
    about = {"fps": fps, "frames": len(fit.weights)} | ({"sound": sound} if sound else {})
    animation.extras = about
    document = library.GLTF2(
        asset=library.Asset(version="2.0", generator="streamingtalker", copyright="; ".join(avatar.credits) or None),
        scene=0,
        scenes=[library.Scene(name=avatar.topology.name, nodes=[0, 1], extras=about)],
        nodes=[library.Node(name="Head", mesh=0), _camera_node(library, avatar)],
        cameras=[_camera(library, avatar)],
        meshes=[mesh],
        materials=[_material(library, avatar, part) for part in avatar.parts],
        animations=[animation],
        accessors=numbers.accessors,
        bufferViews=views,
        buffers=[library.Buffer(byteLength=len(content))],
    )
    document.set_binary_blob(content)
    document.save_binary(str(path))


def _mesh(library: Any, numbers: Numbers, avatar: Avatar) -> Any:  # noqa: ANN401 - of pygltflib
    surface = _surface(avatar)
    names = list(avatar.rig.shape_names)
    return library.Mesh(
        name=avatar.topology.name,
        primitives=[_primitive(library, numbers, avatar, surface, index) for index in range(len(avatar.parts))],
        weights=[0.0] * len(names),
        extras={"targetNames": names},
    )


def _surface(avatar: Avatar) -> _Surface:
    rest = avatar.surface(avatar.template)
    normals = avatar.normals(rest)
    moves = np.stack([avatar.surface(shape) for shape in avatar.rig.shapes])
    turns = np.stack([avatar.normals(rest + move) - normals for move in moves])
    return _Surface(rest, normals, moves, turns, np.round(linear(avatar.colors) * 65535).astype(np.uint16))


def _primitive(library: Any, numbers: Numbers, avatar: Avatar, surface: _Surface, index: int) -> Any:  # noqa: ANN401
    part = avatar.parts[index]
    members = slice(*part.vertices)
    attributes = library.Attributes(
        POSITION=numbers.add("vectors", surface.positions[members], limits=True),
        NORMAL=numbers.add("vectors", _unit(surface.normals[members])),
        COLOR_0=numbers.add("colors", surface.colors[members], normalized=True),
    )
    targets = [
        {
            "POSITION": numbers.add_sparse(move[members], _UNMOVED, limits=True),
            "NORMAL": numbers.add_sparse(turn[members], _UNTURNED),
        }
        for move, turn in zip(surface.moves, surface.turns, strict=True)
    ]
    faces = triangles(avatar.faces[slice(*part.faces)] - part.vertices[0])
    return library.Primitive(
        attributes=attributes, indices=numbers.add("triangles", faces), material=index, targets=targets
    )


def _unit(normals: np.ndarray) -> np.ndarray:
    """Normals of length one; where triangles have no area, upwards."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0.5, normals / np.maximum(length, 0.5), np.array([0, 1, 0])).astype(np.float32)


def _material(library: Any, avatar: Avatar, part: Part) -> Any:  # noqa: ANN401 - of pygltflib
    translucent = bool((avatar.colors[slice(*part.vertices), 3] < 255).any())
    finish = library.PbrMetallicRoughness(metallicFactor=part.metallic, roughnessFactor=part.roughness)
    return library.Material(
        name=part.name,
        pbrMetallicRoughness=finish,
        alphaMode="BLEND" if translucent else "OPAQUE",
        alphaCutoff=None,
        doubleSided=part.double_sided,
    )


def _animation(library: Any, numbers: Numbers, fit: Fit, fps: float) -> Any:  # noqa: ANN401 - of pygltflib
    """The curves of all weights, one key a frame."""
    times = (np.arange(len(fit.weights)) / fps).astype(np.float32)
    sampler = library.AnimationSampler(
        input=numbers.add("curves", times, limits=True),
        output=numbers.add("curves", fit.weights.astype(np.float32).ravel()),
        interpolation="LINEAR",
    )
    target = library.AnimationChannelTarget(node=0, path="weights")
    return library.Animation(
        name="Speech", samplers=[sampler], channels=[library.AnimationChannel(sampler=0, target=target)]
    )


def _camera(library: Any, avatar: Avatar) -> Any:  # noqa: ANN401 - of pygltflib
    angle = field_of_view(avatar, _ASPECT)
    lens = library.Perspective(aspectRatio=_ASPECT, yfov=angle, znear=0.1, zfar=10.0)
    return library.Camera(name="Portrait", type="perspective", perspective=lens)


def _camera_node(library: Any, avatar: Avatar) -> Any:  # noqa: ANN401 - of pygltflib
    return library.Node(name="Portrait", camera=0, translation=camera_pose(avatar)[:3, 3].tolist())
