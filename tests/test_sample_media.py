"""What the sample uploads show is drawn, and is what its description says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

from schemas.media_job import load_media
from schemas.settings import ROOT
from scripts.cli.sample_media import draw_all, drawings, known_picture, media_config
from scripts.cli.samples import MEDIA_BANKS, MEDIA_URIS, UPLOADS
from udfs.image_hashes import hash_picture
from udfs.media_banks import MediaBanks
from udfs.media_query import MediaQuery


def test_there_is_a_drawing_for_each_sample() -> None:
    named = {
        json.loads(line)["media_uri"]
        for line in UPLOADS.read_text("utf-8").splitlines()
        if MEDIA_URIS in line
    }
    assert named == {f"{MEDIA_URIS}{drawing.uri}" for drawing in drawings()}


def test_what_is_drawn_is_known_to_the_sample_bank_however_it_is_turned(tmp_path: Path) -> None:
    draw_all(tmp_path)
    banks = MediaBanks.load(MEDIA_BANKS)
    for drawing in drawings():
        path = tmp_path / drawing.uri
        assert path.stat().st_size > 500
        if drawing.uri.startswith("images/") and drawing.draw != "cut":
            with Image.open(path) as picture:
                query = MediaQuery(cohort="c", picture=hash_picture(picture.convert("RGB")))
            found = [match.entry for match in banks.match(query, 0.0)]
            assert found == (["meme-1"] if drawing.draw in {"known", "turned"} else [])
    assert hash_picture(known_picture()).quality >= 50


def test_the_media_job_of_a_demo_may_read_the_drawings_alone(tmp_path: Path) -> None:
    path = media_config(tmp_path, tmp_path / "drawn", Path("conf/media.yaml"))
    assert load_media(path).fetch.folders == (tmp_path / "drawn",)
    base = yaml.safe_load((ROOT / "conf/media.yaml").read_text("utf-8"))
    made = yaml.safe_load(path.read_text("utf-8"))
    assert {name for name in made if made[name] != base.get(name)} == {"fetch", "sandbox"}


JOB = """
import signal, sys, time
from pathlib import Path
name, marks = sys.argv[1], Path(sys.argv[2])
with (marks / name).open("a") as mark: mark.write("started ")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    time.sleep(0.05)
    if (marks / f"end-{name}").exists(): sys.exit(3)
"""


def test_both_jobs_run_beside_each_other_and_end_together(tmp_path: Path) -> None:
    """`scripts/run`, around two small programs instead of the jobs."""
    (tmp_path / "job.py").write_text(JOB)
    program = (
        "import sys; from scripts.cli import run_jobs; run_jobs._AGAIN_AFTER_S = 0.1\n"
        "job = lambda name: [sys.executable, sys.argv[1] + '/job.py', name, sys.argv[1]]\n"
        "sys.exit(run_jobs.Both(job('moderation'), job('media')).run())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    def started(name: str, times: int) -> None:
        while not (tmp_path / name).exists() or (
            (tmp_path / name).read_text().split() != ["started"] * times
        ):
            assert process.poll() is None

    started("media", 1)
    (tmp_path / "end-media").touch()
    started("media", 2)  # it is started again, and the other job does not notice
    (tmp_path / "end-media").unlink()
    assert (tmp_path / "moderation").read_text().split() == ["started"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_where_the_moderation_job_fails_the_media_job_ends_as_well(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "end-moderation").touch()
    program = (
        "import sys; from scripts.cli import run_jobs\n"
        "job = lambda name: [sys.executable, sys.argv[1] + '/job.py', name, sys.argv[1]]\n"
        "sys.exit(run_jobs.Both(job('moderation'), job('media')).run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        cwd=ROOT,
        timeout=20,
        check=False,
    )
    assert done.returncode == 3
