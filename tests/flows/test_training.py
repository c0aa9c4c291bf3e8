"""`photog_train_pmml` with the unmodified SDK: from photos of drawn people to a LoRA."""

import base64
import io
import json
import pathlib
import shutil
import signal

import pytest
from PIL import Image

from checking import as_told
from photog_process import TOKEN
from training import (
    ENDLESS,
    SERVICE,
    SMALL,
    answer,
    data_address,
    drawn,
    files_of,
    job,
    put,
    running_trainings,
    train,
    train_service,
    until_trained_with,
)
from waiting import until

NOTICE = "made with the demo pack"
PACK = {"PHOTOG_PACK": "demo"}


@pytest.fixture(scope="module")
def studio(start_shared):
    """The built-in services on an empty data folder, with the networks of the demo pack."""
    return start_shared(environment=PACK)


def people(server):
    found = server.http("GET", "/api/people")
    assert found.status_code == 200, found.text
    return found.json()


def loras(server):
    assert server.http("POST", "/sdapi/v1/refresh-loras").status_code == 200
    return [lora["name"] for lora in server.http("GET", "/sdapi/v1/loras").json()]


def picture(server, prompt):
    body = {"prompt": prompt, "width": 64, "height": 64, "steps": 2, "seed": 5}
    found = server.http("POST", "/sdapi/v1/txt2img", json=body)
    assert found.status_code == 200, found.text
    [image] = found.json()["images"]
    return Image.open(io.BytesIO(base64.b64decode(image))).tobytes()


def cancel(server, name, **query):
    found = server.http("POST", f"/api/jobs/{name}/cancel", query)
    assert found.status_code == 200, found.text


def fates(result):
    """The word of each photo's fate, in the order of the photos."""
    assert [fate["photo"] for fate in result["photos"]] == list(range(len(result["photos"])))
    return [fate["reason"] or fate["fate"] for fate in result["photos"]]


def jpeg(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    return data_address(file.getvalue())


def photo(person, number):
    folder = pathlib.Path(__file__).resolve().parents[2] / "assets" / "demo" / "people"
    return Image.open(folder / person / f"{number}.jpg").convert("RGB")


def without_a_face():
    return jpeg(Image.linear_gradient("L").resize((700, 700)).convert("RGB"))


def of_two_people():
    left, right = photo("alma", 1), photo("bruno", 1)
    both = Image.new("RGB", (left.width + right.width, max(left.height, right.height)))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return jpeg(both)


def test_a_person_is_trained_replaced_and_removed(studio):
    """One request ends in a LoRA, a record and pictures; a removal leaves none of them."""
    images = drawn("alma", 1, 2, 3, 4, 5)
    result = train(studio, "alma", images)
    assert (result["code"], result["message"]) == ("OK", "success"), result
    assert (result["request_id"], result["model_id"]) == ("for alma", "alma")
    assert result["images"] == [as_told(image) for image in images]
    assert result["model_path"] == "webui/models/Lora/alma/alma.safetensors"
    assert result["ref_image"] == "photog/user_images/alma/ref_image.jpg"
    for name in ("model_path", "ref_image"):
        assert (studio.data_folder / result[name]).stat().st_size > 0
    assert (result["used_images"], result["train_steps"]) == (5, 4)
    assert result["cost_time"] > 0 and "score" in result
    assert fates(result) == ["used"] * 5
    assert [fate["reference"] for fate in result["photos"]].count(True) == 1
    assert NOTICE in result["warnings"][0]

    [person] = people(studio)["people"]
    assert (person["model_id"], person["train_steps"], person["pack"]) == ("alma", 4, "demo")
    assert person["lora"] == result["model_path"]
    record = studio.http("GET", "/api/people/alma").json()
    assert [step for step, _loss, _rate in record["losses"]] == [1, 2, 3, 4]
    assert [checkpoint["step"] for checkpoint in record["checkpoints"]] == [2, 4]
    for path in ("reference", "thumbnail"):
        sent = studio.http("GET", f"/api/people/alma/{path}")
        assert sent.status_code == 200
        Image.open(io.BytesIO(sent.content)).verify()
    for score in record["scores"]:
        name = score["picture"].rsplit("/", 1)[1]
        assert studio.http("GET", f"/api/people/alma/validation/{name}").status_code == 200
    assert "alma" in loras(studio)
    # The LoRA is found by the name that the WebUI's prompts call it by, and changes the picture.
    assert picture(studio, "a portrait <lora:alma:1>") != picture(studio, "a portrait")

    again = train(studio, "alma", images)
    assert again["code"] == "MODEL_ALREADY_EXISTS", again
    assert "overwrite" in again["message"]
    before = (studio.data_folder / result["model_path"]).read_bytes()
    other = train(studio, "alma", images, overwrite=True, seed=7)
    assert (other["code"], other["model_id"]) == ("OK", "alma"), other
    assert (studio.data_folder / result["model_path"]).read_bytes() != before

    assert studio.http("DELETE", "/api/people/alma").json() == {
        "model_id": "alma",
        "removed": True,
    }
    assert files_of(studio, "alma") == []
    assert people(studio)["people"] == [] and "alma" not in loras(studio)


def test_a_request_id_that_is_used_twice_does_not_keep_a_person_from_being_replaced(studio):
    """Clients choose it, so it says of a request only that it may be the same."""
    queue = studio.client(SERVICE)
    loras = []
    for seed in (1, 2):
        configure = SMALL | {"validation": False, "overwrite": True, "seed": seed}
        body = {"model_id": "twice", "images": drawn("carla", 1, 2), "configure": configure}
        queue.put(json.dumps(body), {"requestId": "the-same"})
        result = answer(studio, "the-same")
        assert result["code"] == "OK", result
        loras.append((studio.data_folder / result["model_path"]).read_bytes())
    assert loras[0] != loras[1]
    assert studio.http("DELETE", "/api/people/twice").status_code == 200


def test_without_an_id_the_person_gets_a_new_one(studio):
    """It is in the result, as the hosted service does it."""
    body = {"images": drawn("carla", 1, 2), "configure": {"max_train_steps": 1, "rank": 2}}
    body["configure"] |= {"resolution": 64, "validation": False}
    _, request_id = studio.client(SERVICE).put(json.dumps(body))
    result = answer(studio, request_id)
    assert result["code"] == "OK", result
    assert result["score"] is None
    name = result["model_id"]
    assert name in [person["model_id"] for person in people(studio)["people"]]
    assert studio.http("DELETE", f"/api/people/{name}").status_code == 200


@pytest.mark.parametrize(
    ("configure", "named"),
    [
        ({"rank": 8, "network_alpha": 16}, "network_alpha"),
        ({"resolution": "large"}, "resolution"),
        ({"sd_model_checkpoint": "no-such-model"}, "no-such-model"),
    ],
)
def test_a_setting_that_cannot_be_is_named(studio, configure, named):
    """Nothing is left of such a request."""
    result = train(studio, "wrong", drawn("alma", 1, 2), **configure)
    assert result["code"] in ("INVALID_PARAMETER", "BASE_MODEL_MISSING")
    assert named in result["message"]
    assert files_of(studio, "wrong") == []


def test_each_photo_has_its_fate(studio):
    """Photos that are of no use are left out, each with its reason; the others are trained with."""
    images = drawn("alma", 1, 2, 3) + [without_a_face(), of_two_people()]
    images += drawn("alma", 2) + drawn("bruno", 1) + ["xx.jpg"]
    result = train(studio, "mixed", images, validation=False)
    assert result["code"] == "OK", result
    assert fates(result) == ["used"] * 3 + [
        "no_face",
        "several_faces",
        "same_shot",
        "another_person",
        "download_failed",
    ]
    assert result["used_images"] == 3
    said = "\n".join(result["warnings"])
    for place in range(3, 8):
        assert f"images[{place}] is left out: " in said
    assert studio.http("GET", "/api/people/mixed").json()["photos"] == result["photos"]
    assert studio.http("DELETE", "/api/people/mixed").status_code == 200


def test_one_photo_is_enough_with_a_warning(studio):
    """The cloud asks for five, and its clients' own examples send fewer."""
    result = train(studio, "single", drawn("bruno", 1), validation=False)
    assert (result["code"], result["used_images"]) == ("OK", 1), result
    assert any("1 photo" in warning for warning in result["warnings"]), result["warnings"]
    assert fates(result) == ["used"]
    assert studio.http("DELETE", "/api/people/single").status_code == 200


def test_without_a_usable_photo_nobody_is_trained(studio):
    """The answer counts the reasons and has the fate of each photo."""
    result = train(studio, "nobody", [without_a_face(), of_two_people()])
    assert result["code"] == "NO_USABLE_IMAGE", result
    assert fates(result) == ["no_face", "several_faces"]
    assert files_of(studio, "nobody") == []
    assert people(studio)["unfinished"] == []


def test_five_trainings_take_two_slots(start):
    """Never more run at a time, each ends in one result, and none is cut off when the line empties."""
    service = train_service(
        min=1,
        max=2,
        strategies={"queue[backlog]": 1},
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    )
    server = start(service, environment=PACK)
    images = drawn("alma", 1, 2)
    # The last two go on for a while when nothing waits any more.
    steps = {"one": 4, "two": 4, "three": 4, "four": 40, "five": 80}
    requests = {
        name: put(
            server,
            name,
            images,
            max_train_steps=count,
            steps_per_photos=count,
            validation=False,
        )
        for name, count in steps.items()
    }
    names = [name for name, _ in requests.values()]

    def are_done():
        [listed] = server.http("GET", "/api/services").json()["services"]
        assert sum(slot["job"] is not None for slot in listed["slots"]) <= 2
        return all(job(server, name)["state"] == "done" for name in names)

    until(are_done, 80)
    jobs = [job(server, name) for name in names]
    marks = [(one["started"], 1) for one in jobs] + [(one["finished"], -1) for one in jobs]
    running, most = 0, 0
    for _, change in sorted(marks):
        running += change
        most = max(most, running)
    assert most == 2
    assert [one["deliveries"] for one in jobs] == [1] * 5
    sink = server.client(f"{SERVICE}/sink")
    for name, (_, request_id) in requests.items():
        [frame] = sink.get(request_id=request_id, timeout="1s")
        result = json.loads(frame.data)
        assert (result["code"], result["model_id"]) == ("OK", name), result
        assert result["train_steps"] == steps[name]
    assert sink.get(timeout="0s") == []
    trained = [person["model_id"] for person in people(server)["people"]]
    assert sorted(trained) == sorted(steps)


def test_where_a_training_stands_is_told_while_it_runs(studio):
    """By the job, by the stream of events, and by the latest validation picture."""
    more = ENDLESS | {"validation": True}
    name, request_id = put(studio, "watched", drawn("alma", 1, 2), **more)
    found = until_trained_with(studio, name)["training"]
    assert found["phase"] in ("training", "validating")
    assert 0 < found["step"] < found["steps"] == 20_000
    assert found["loss"] > 0 and found["rate"] > 0 and found["remaining_seconds"] > 0
    with running_trainings(studio) as events:
        told = next(told for told in events if told["job"] == name and told["training"]["step"] > 0)
    assert told["training"]["steps"] == 20_000 and 0 < told["progress"] < 1

    def preview():
        sent = studio.http("GET", f"/api/jobs/{name}/preview")
        if sent.status_code == 404:
            assert "no picture of its work yet" in sent.json()["message"]
            return None
        assert sent.status_code == 200, sent.text
        return sent

    seen = until(preview, 60)
    assert seen.headers["Content-Type"] == "image/png"
    assert seen.headers["Cache-Control"] == "no-store"
    assert Image.open(io.BytesIO(seen.content)).size == (64, 64)
    assert people(studio)["in_training"] == ["watched"]
    cancel(studio, name)
    assert answer(studio, request_id)["code"] == "CANCELLED"
    ended = job(studio, name)
    assert (ended["state"], ended["training"]) == ("cancelled", None)
    gone = studio.http("GET", f"/api/jobs/{name}/preview")
    assert gone.status_code == 404 and "cancelled" in gone.json()["message"]
    assert studio.http("GET", f"/api/jobs/{SERVICE}-99999/preview").status_code == 404


def test_a_cancelled_training_leaves_nothing_of_the_person(studio):
    """It ends soon, its entry ends in the sink, and no file has the person's name."""
    name, request_id = put(studio, "cancelled", drawn("alma", 1, 2), **ENDLESS)
    until_trained_with(studio, name)
    assert files_of(studio, "cancelled") != []
    cancel(studio, name)
    result = answer(studio, request_id)
    assert result["code"] == "CANCELLED", result
    assert files_of(studio, "cancelled") == []
    found = people(studio)
    assert found["in_training"] == found["unfinished"] == found["people"] == []


def test_a_training_that_is_cancelled_and_kept_makes_the_person(start):
    """Of what was learned so far, with a warning; one that waits is cancelled like any other."""
    server = start(train_service(), environment=PACK)
    name, request_id = put(server, "kept", drawn("alma", 1, 2), **ENDLESS)
    until_trained_with(server, name)
    waiting, waiting_id = put(server, "waiting", drawn("alma", 1, 2), **ENDLESS)
    cancel(server, waiting, keep="true")
    assert answer(server, waiting_id)["code"] == "CANCELLED"
    refused = server.http("POST", f"/api/jobs/{name}/cancel", {"keep": "perhaps"})
    assert refused.status_code == 400
    cancel(server, name, keep="true")
    result = answer(server, request_id)
    assert result["code"] == "OK", result
    assert 0 < result["train_steps"] < 20_000
    assert any("finish early" in warning for warning in result["warnings"])
    assert (server.data_folder / result["model_path"]).is_file()
    assert job(server, name)["state"] == "done"
    [person] = people(server)["people"]
    assert (person["model_id"], person["train_steps"]) == ("kept", result["train_steps"])


def test_the_same_request_goes_on_after_the_program_was_killed(start):
    """The entry in hand ends as interrupted; what was learned stays until the request comes again."""
    server = start(train_service(), environment=PACK)
    steps = {"max_train_steps": 150, "steps_per_photos": 150, "validation": False}
    name, request_id = put(server, "broken", drawn("alma", 1, 2), **steps)

    def has_saved():
        found = job(server, name)["training"]
        return found and found["step"] > 2

    until(has_saved, 60)
    server.kill()
    server.start()
    assert answer(server, request_id)["code"] == "INTERRUPTED"
    assert people(server)["unfinished"] == ["broken"]
    result = train(server, "broken", drawn("alma", 1, 2), **steps)
    assert (result["code"], result["train_steps"]) == ("OK", 150), result
    record = server.http("GET", "/api/people/broken").json()
    assert [step for step, _loss, _rate in record["losses"]] == list(range(1, 151))
    assert people(server)["unfinished"] == []
    assert [path for path in files_of(server, "broken") if "training" in path.parts] == []


def test_a_stop_that_does_not_wait_loses_no_step(start):
    """After a second signal the state is saved, and the same request goes on from there."""
    server = start(train_service(), environment=PACK)
    # No checkpoint on the way: what is saved is saved by the stop.
    steps = {
        "max_train_steps": 150,
        "steps_per_photos": 150,
        "val_and_checkpointing_steps": 1000,
        "validation": False,
    }
    name, request_id = put(server, "stopped", drawn("alma", 1, 2), **steps)
    until_trained_with(server, name)
    server.send_signal(signal.SIGTERM)
    until(lambda: server.http("GET", "/readyz").status_code == 503, 10)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 1
    state = server.data_folder / "photog/training/stopped/state/training.safetensors"
    assert state.is_file()
    server.start()
    assert answer(server, request_id)["code"] == "INTERRUPTED"
    result = train(server, "stopped", drawn("alma", 1, 2), **steps)
    assert (result["code"], result["train_steps"]) == ("OK", 150), result


def test_checkpoints_are_judged_by_the_operators_templates(start):
    """One picture of each template with a face at each checkpoint, instead of those of the caption."""
    server = start(train_service(), environment=PACK)
    folder = server.data_folder / "photog" / "templates"
    folder.mkdir(parents=True)
    templates = pathlib.Path(__file__).resolve().parents[2] / "assets" / "demo" / "templates"
    for name in ("one.jpg", "nobody.jpg"):
        shutil.copyfile(templates / name, folder / name)
    (folder / "notes.txt").write_text("no picture")
    result = train(server, "judged", drawn("alma", 1, 2), resolution=128)
    assert result["code"] == "OK", result
    scores = server.http("GET", "/api/people/judged").json()["scores"]
    assert [score["step"] for score in scores] == [2, 4]
    assert result["score"] == max(score["score"] for score in scores)
    assert [score["chosen"] for score in scores].count(True) == 1


def test_names_and_addresses_are_not_in_the_log(studio):
    """Neither a person's id nor where photos came from."""
    train(studio, "somebody-by-name", ["https://127.0.0.1:1/secret-photo.jpg"])
    said = studio.stderr_tail(10_000_000)
    assert "somebody-by-name" not in said and "secret-photo" not in said
    assert TOKEN not in said
