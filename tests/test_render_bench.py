"""The measurement of drawing: every level and size is there, and the report can be read."""

import json

from demo.quality import QUALITIES
from demo.render_bench import main
from streamingtalker import bench


def test_every_level_and_size_is_measured(tmp_path, capsys):
    report = tmp_path / "made" / "render.json"
    assert bench.main(["render", "--size", "64", "96", "--pictures", "3", "--json", str(report)]) == 0
    document = json.loads(report.read_text("utf-8"))
    assert document["machine"]["opengl"] and document["machine"]["cores"] and document["avatar"] == "maya"
    paces = document["paces"]
    assert [(pace["size"], pace["quality"]) for pace in paces] == [
        (size, quality.name) for size in (64, 96) for quality in QUALITIES
    ]
    for pace in paces:
        assert 0 < pace["drawing"] <= pace["drawing_p95"] and pace["reading"] > 0 and pace["work"] > 0
        assert abs(pace["pictures_per_second"] * (pace["posing"] + pace["drawing"]) - 1000) < 1e-6
    assert len(capsys.readouterr().out.splitlines()) == len(paces) + 1


def test_what_cannot_be_had_is_named(tmp_path, capsys):
    assert main(["--avatar", "nobody"]) == 2
    (tmp_path / "file").write_text("in the way")
    assert main(["--json", str(tmp_path / "file" / "out.json")]) == 2
    assert "nobody" in (words := capsys.readouterr().err) and "out.json" in words
