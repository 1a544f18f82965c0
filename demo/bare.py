"""The face on the screen: an avatar, a glTF head, or, for weights that bring a mesh of their own, that mesh in clay."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse

from demo.avatar import Avatar, Part, load_avatar
from demo.frame_queue import FrameQueue
from demo.gltf_head import load_gltf_head
from demo.life import Landmarks
from demo.look import Look
from demo.settings import Settings
from streamingtalker.topology import Rig, Topology, load_rig, load_talking_mesh

if TYPE_CHECKING:
    from demo.puppet import Puppet

log = logging.getLogger(__name__)

GLTF = (".glb", ".gltf")  # how the files of glTF heads end
FPS = 30.0  # of the weights that are made for our avatars
CLAY, WHITE, IRIS, PUPIL = (
    (196, 170, 152, 255),
    (232, 230, 226, 255),
    (92, 84, 78, 255),
    (38, 35, 33, 255),
)  # sRGB, alpha
IRIS_WIDE, PUPIL_WIDE = np.cos(np.radians([29.0, 13.0]))  # how far from straight ahead they reach
EYE_LEVEL = (0.25, 0.5)  # where eyes are to be looked for, as share of the way from the mouth to the top


@dataclass(frozen=True)
class ShownFace:
    """What is drawn, what of it can live, and how often it moves."""

    look: Look
    landmarks: Landmarks
    fps: float
    talking: Topology  # whose frames the server sends
    puppet: "Puppet | None" = None  # makes the head's frames of them, where that is another mesh

    def queue(self, capacity: int) -> FrameQueue:
        """A queue that takes the talking mesh's frames and gives out those of what is drawn."""
        return FrameQueue(capacity) if self.puppet is None else self.puppet.queue(capacity)


def shown_face(settings: Settings, avatar: Path) -> ShownFace:
    """The face to show: of the local weights, if they bring one and no other is asked for, else the ``avatar``.

    Raises CheckpointError, HeadError.
    """
    if settings.server is None and settings.avatar is None:
        topology, metadata = load_talking_mesh(settings.talker)
        if metadata.get("network") == "released":
            return bare_face(topology, float(metadata["dims"]["fps"]))
    if avatar.suffix.lower() in GLTF:
        return gltf_face(avatar)
    shown = load_avatar(avatar)
    return ShownFace(shown, Landmarks.of_rig(shown.rig), FPS, shown.topology)


def gltf_face(path: Path) -> ShownFace:
    """A glTF head that the frames of our talking mesh move. Raises HeadError."""
    from demo.puppet import Puppet, head_landmarks, missing_shapes  # its solver takes 0.2 s to load

    head, rig = load_gltf_head(path), load_rig()
    if lacking := missing_shapes(head):
        log.info("%s lacks %d of ARKit's 52 shapes: %s.", path, len(lacking), ", ".join(lacking))
    return ShownFace(head, head_landmarks(head, path.stem), FPS, rig.topology, Puppet(head, rig))


def bare_face(topology: Topology, fps: float) -> ShownFace:
    """A mesh without shapes, colours and hair. It turns its head; where it has eyeballs, it looks and blinks."""
    topology = _with_upper_face(topology)
    landmarks = Landmarks.of_topology(topology)
    eyes = [eye.members for eye in landmarks.eyes] or [np.zeros(0, np.int64)] * 2
    rig = Rig(topology, (), np.zeros((0, *topology.template.shape), np.float32), (eyes[0], eyes[1]), _pivots(landmarks))
    count, colors = topology.vertex_count, _colors(landmarks)
    part = Part("skin", (0, len(topology.faces)), (0, count), roughness=0.75, double_sided=True)
    same = sparse.identity(count, np.float32, format="csr")
    return ShownFace(Avatar(rig, topology.faces, colors, (part,), weights=same), landmarks, fps, topology)


def _colors(landmarks: Landmarks) -> np.ndarray:
    """uint8 [V, 4]: clay, and eyes that look ahead."""
    colors = np.tile(np.array(CLAY, np.uint8), (len(landmarks.template), 1))
    for eye in landmarks.eyes:
        out = landmarks.template[eye.members] - eye.pivot
        ahead = out[:, 2] / np.linalg.norm(out, axis=1)
        for color, least in ((WHITE, -1.0), (IRIS, IRIS_WIDE), (PUPIL, PUPIL_WIDE)):
            colors[eye.members[ahead >= least]] = color
    return colors


def _with_upper_face(topology: Topology) -> Topology:
    """Where no regions came with the weights: the vertices at about the height of the eyes."""
    if len(topology.upper_face):
        return topology
    height = topology.template[:, 1]
    mouth = height[topology.lips].mean()
    share = (height - mouth) / (height.max() - mouth)
    return replace(topology, upper_face=np.flatnonzero((share > EYE_LEVEL[0]) & (share < EYE_LEVEL[1])))


def _pivots(landmarks: Landmarks) -> np.ndarray:
    """Centres of the eyeballs, or where they would be."""
    if landmarks.eyes:
        return np.stack([eye.pivot for eye in landmarks.eyes])
    topology = landmarks.topology
    level = topology.template[topology.upper_face].mean(axis=0)
    aside = np.array([0.5 * landmarks.unit, 0.0, 0.0])
    return np.stack([level + aside, level - aside]).astype(np.float32)
