"""`photog_pre_pmml` with the unmodified SDK: trained people in the place of a template's faces."""

import io
import json

import pytest
from PIL import Image, ImageChops

from photog_process import TOKEN
from portraits import (
    SERVICE,
    TEMPLATES,
    answer,
    file_of,
    picture_of,
    portrait,
    predict_service,
    put,
    template,
    train_people,
)
from training import data_address, job, train_service
from waiting import until

PACK = {"PHOTOG_PACK": "demo"}
NOTICE = "made with the demo pack"


@pytest.fixture(scope="module")
def studio(start_shared):
    """The built-in services with the networks of the demo pack, and two people."""
    server = start_shared(environment=PACK)
    train_people(server, "alma", "bruno")
    return server


def test_a_portrait_of_one_person(studio):
    """It has the template's size, differs from it around the face alone, and says what it is."""
    more = {"display_score": True, "mask_ratio": 1.0}
    result = portrait(studio, "alma", template("one.jpg"), **more)
    assert (result["code"], result["message"]) == ("OK", "success"), result
    assert (result["request_id"], result["seed"]) == ("for alma", 5)
    assert result["model_ids"] == ["alma"]
    assert result["cost_time"] > 0
    assert len(result["face_scores"]) == 1
    assert NOTICE in result["warnings"][0]
    assert "output_path" not in result
    file = file_of(result)
    assert file.startswith(b"\xff\xd8\xff")
    for said in (b"compositeWithTrainedAlgorithmicMedia", b"photog ", b"demo", b"5"):
        assert said in file[:4096]
    made, before = picture_of(result), Image.open(TEMPLATES / "one.jpg")
    assert made.size == before.size
    change = ImageChops.difference(made.convert("RGB"), before.convert("RGB"))
    # A JPEG is never exact; far from the face there is nothing else.
    assert max(high for _, high in change.crop((0, 0, 40, 768)).getextrema()) < 40
    assert max(high for _, high in change.crop((250, 300, 450, 500)).getextrema()) > 60


def test_the_same_request_gives_the_same_bytes(studio):
    """With a seed; without one there is another picture."""
    first = portrait(studio, "alma", template("one.jpg"))
    again = portrait(studio, "alma", template("one.jpg"))
    assert first["image"] == again["image"]
    other = portrait(studio, "alma", template("one.jpg"), seed=-1)
    assert other["image"] != first["image"]
    assert 0 <= other["seed"] < 65_536


def test_a_portrait_of_two_people(studio):
    """The ids name the faces from left to right."""
    result = portrait(studio, ["bruno", "alma"], template("two.jpg"), display_score=True)
    assert result["code"] == "OK", result
    assert result["model_ids"] == ["bruno", "alma"]
    assert len(result["face_scores"]) == 2
    assert picture_of(result).size == Image.open(TEMPLATES / "two.jpg").size
    turned_round = portrait(studio, ["alma", "bruno"], template("two.jpg"))
    assert turned_round["image"] != result["image"]


def test_each_failure_is_named(studio):
    """With its code, what it means and what to do."""
    grey = io.BytesIO()
    Image.new("RGB", (600, 500)).save(grey, "JPEG")
    for persons, picture, code, part in [
        ("alma", template("nobody.jpg"), "NO_FACE_IN_TEMPLATE", "no face was found"),
        ("alma", template("two.jpg"), "FACE_COUNT_MISMATCH", "shows 2 faces"),
        (["alma", "bruno"], template("one.jpg"), "FACE_COUNT_MISMATCH", "names 2 persons"),
        ("carla", template("one.jpg"), "MODEL_NOT_FOUND", "train the person first"),
        ("alma", "xx.jpg", "IMAGE_DOWNLOAD_FAILED", "`template_image`"),
        ("alma", data_address(b"no picture"), "IMAGE_DECODE_FAILED", "`template_image`"),
        ("alma", data_address(grey.getvalue()), "IMAGE_TOO_SMALL", "600 x 500 pixels"),
        ("../alma", template("one.jpg"), "INVALID_PARAMETER", "`model_id`"),
        ([], template("one.jpg"), "INVALID_PARAMETER", "`model_id` is missing"),
        ("alma", "", "INVALID_PARAMETER", "`template_image` is missing"),
    ]:
        result = portrait(studio, persons, picture)
        assert result["code"] == code, result
        assert part in result["message"], result
        assert result["request_id"] == f"for {persons}" and "image" not in result
    result = portrait(studio, "alma", template("two.jpg"), allow_face_count_mismatch=True)
    assert result["model_ids"] == ["alma"]
    assert any("stay as they are" in warning for warning in result["warnings"])


def test_options_are_held_to_their_ranges_and_kept_pictures_are_on_the_disk(studio):
    """What was moved or not understood is in the warnings."""
    result = portrait(
        studio,
        "alma",
        template("one.jpg"),
        save_image=True,
        candidates=100,
        lora_weights=9,
        makeup_transfer=True,
        enable_second_diffusion=False,
        first_diffusion_steps=2,
    )
    assert result["code"] == "OK", result
    said = " ".join(result["warnings"])
    for name in ("candidates", "lora_weights", "makeup_transfer"):
        assert f"`configure.{name}`" in said
    assert (studio.data_folder / result["output_path"]).read_bytes() == file_of(result)


def test_where_a_portrait_stands_is_told_and_it_can_be_cancelled(studio):
    """By the job, pass after pass."""
    more = {"first_diffusion_steps": 50, "first_denoising_strength": 1.0, "candidates": 8}
    name, request_id = put(studio, "alma", template("one.jpg"), **more)
    until(lambda: (job(studio, name)["progress"] or 0) > 0, 60)
    sent = studio.http("POST", f"/api/jobs/{name}/cancel")
    assert sent.status_code == 200, sent.text
    assert answer(studio, request_id)["code"] == "CANCELLED"


def slots_of(server, service):
    listed = server.http("GET", "/api/services").json()["services"]
    return next(one for one in listed if one["name"] == service)


def most_at_once(jobs):
    marks = [(one["started"], 1) for one in jobs] + [(one["finished"], -1) for one in jobs]
    running, most = 0, 0
    for _, change in sorted(marks):
        running += change
        most = max(most, running)
    return most


def test_ten_portraits_take_two_slots_and_memory_refuses_the_third(start):
    """Three are wanted; the device holds two; none is cut off when the line empties."""
    predict = predict_service(
        slot_memory_mib=400,
        min=1,
        max=3,
        strategies={"queue[backlog]": 1},
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    )
    environment = PACK | {"PHOTOG_DEVICE_SLOTS": "8", "PHOTOG_DEVICE_MEMORY_MIB": "1000"}
    server = start(train_service(), predict, environment=environment)
    train_people(server, "alma")
    requests = [
        put(server, "alma", template("one.jpg"), request_id=number, seed=number)
        for number in range(1, 11)
    ]
    names = [name for name, _ in requests]

    def are_done():
        listed = slots_of(server, SERVICE)
        assert sum(slot["job"] is not None for slot in listed["slots"]) <= 2
        return all(job(server, name)["state"] == "done" for name in names)

    until(are_done, 80)
    autoscaler = slots_of(server, SERVICE)["autoscaler"]
    assert (autoscaler["max"], autoscaler["declared_max"]) == (2, 3)
    assert "device allows 2 slots" in autoscaler["reason"]
    jobs = [job(server, name) for name in names]
    assert most_at_once(jobs) == 2
    assert [one["deliveries"] for one in jobs] == [1] * 10
    sink = server.client(f"{SERVICE}/sink")
    for number, (_, request_id) in enumerate(requests, 1):
        [frame] = sink.get(request_id=request_id, timeout="1s")
        result = json.loads(frame.data)
        assert (result["code"], result["request_id"], result["seed"]) == ("OK", number, number)
    assert sink.get(timeout="0s") == []


def test_after_a_kill_each_entry_has_exactly_one_result(start):
    """Those in hand end as interrupted, the others are made after the restart."""
    predict = predict_service(min=2, max=2)
    server = start(train_service(), predict, environment=PACK)
    train_people(server, "alma")
    more = {"first_diffusion_steps": 20, "candidates": 4}
    requests = [
        put(server, "alma", template("one.jpg"), request_id=number, seed=number, **more)
        for number in range(1, 7)
    ]
    until(lambda: job(server, requests[1][0])["state"] == "running", 60)
    server.kill()
    server.start()
    codes = []
    sink = server.client(f"{SERVICE}/sink")
    for number, (_, request_id) in enumerate(requests, 1):
        [frame] = until(lambda name=request_id: sink.get(request_id=name, timeout="1s"), 80)
        result = json.loads(frame.data)
        assert result["request_id"] == number
        codes.append(result["code"])
    assert set(codes) <= {"OK", "INTERRUPTED"}
    assert 1 <= codes.count("INTERRUPTED") <= 2, codes
    assert sink.get(timeout="0s") == []


def test_names_and_addresses_are_not_in_the_log(studio):
    """Neither a person's id nor where the template came from."""
    portrait(studio, "somebody-by-name", "https://127.0.0.1:1/secret-template.jpg")
    said = studio.stderr_tail(10_000_000)
    assert "somebody-by-name" not in said and "secret-template" not in said
    assert TOKEN not in said
