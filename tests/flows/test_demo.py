"""`photog demo`: the main job from the program alone, in an empty folder."""

import html.parser
import io
import json
import os
import subprocess

import pytest
from PIL import Image

PEOPLE = ["alma", "bruno", "carla"]


class Page(html.parser.HTMLParser):
    """What a page would load, and what it says."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.words = [], []
        self.feed(text)

    def handle_starttag(self, _tag, attributes):
        loading = ("src", "href", "srcset", "data")
        self.loads += [value for name, value in attributes if name in loading]

    def handle_data(self, text):
        self.words.append(text)


@pytest.mark.limit(600)
def test_the_main_job_is_done_and_reported(tmp_path):
    """Checks, trainings and portraits are what the report and the JSON say that they are."""
    ran = subprocess.run(
        [os.environ["PHOTOG_BIN"], "demo", "--json"],
        cwd=tmp_path,
        capture_output=True,
        timeout=580,
        check=False,
    )
    said = ran.stderr.decode()
    # What exactly is painted differs between processors. A face that is not nearest to its own person
    # ends in 1, with a text that names it; most of them have to be.
    wrong = ("is more like" in said) or ("shows no face of" in said)
    assert ran.returncode == 0 or (ran.returncode == 1 and wrong), said
    told = json.loads(ran.stdout)
    assert set(told) >= {"people", "checks", "portraits", "seconds"}
    assert sorted(person["name"] for person in told["people"]) == PEOPLE
    trained = [person for person in told["people"] if person["model_id"]]
    assert [person["name"] for person in trained] == ["alma", "bruno"]
    assert all(person["score"] > 0.3 for person in trained), trained
    nearest = []
    for portrait in told["portraits"]:
        picture = Image.open(tmp_path / "photog-demo" / portrait["file"])
        assert picture.format == "JPEG" and min(picture.size) > 512
        assert portrait["seconds"] > 0 and portrait["template"]
        for face in portrait["faces"]:
            scores = face["scores"]
            assert sorted(scores) in ([], PEOPLE)
            nearest.append(bool(scores) and max(scores, key=scores.get) == face["model_id"])
    assert len(told["portraits"]) == 5 and len(nearest) == 6
    assert nearest.count(True) >= 5, told["portraits"]
    names = [check["set"] for check in told["checks"]]
    assert sorted(names) == sorted([*PEOPLE, "spoilt"])

    page = Page((tmp_path / "photog-demo" / "report.html").read_text())
    assert page.loads and all(address.startswith(("data:", "#")) for address in page.loads)
    words = " ".join(page.words)
    for person in PEOPLE:
        assert person in words
    sheet = Image.open(io.BytesIO((tmp_path / "photog-demo" / "contact-sheet.jpg").read_bytes()))
    assert sheet.width > 800
    assert [path.name for path in tmp_path.iterdir()] == ["photog-demo"]
