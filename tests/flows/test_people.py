"""`/api/people`: who is trained, their pictures, and their removal."""

import fcntl
import json

import pytest

from services import queue_service

JPEG = b"\xff\xd8\xff\xe0 a photo"
PNG = b"\x89PNG\r\n\x1a\n a picture"


def folders(data):
    """The folders of all people, by what they are for."""
    return {
        "images": data / "photog" / "user_images",
        "weights": data / "photog" / "user_weights",
        "lora": data / "webui" / "models" / "Lora",
        "training": data / "photog" / "training",
    }


def train(server, name, **changes):
    """Writes what a training leaves; gives the record."""
    files = {
        f"photog/user_images/{name}/ref_image.jpg": JPEG,
        f"photog/user_images/{name}/train/1.jpg": JPEG,
        f"photog/user_weights/{name}/validation/global_step_t_100_0.jpg": JPEG + b" judged",
        f"photog/user_weights/{name}/validation/other.jpg": JPEG,
        f"photog/user_weights/{name}/checkpoint-100.safetensors": b"weights",
        f"webui/models/Lora/{name}/{name}.safetensors": b"weights",
        f"webui/models/Lora/{name}/{name}.png": PNG,
    }
    for path, content in files.items():
        path = server.data_folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    record = {
        "version": 1,
        "model_id": name,
        "created": "2026-01-02T03:04:05Z",
        "seconds": 412.6,
        "base": {"name": "a-base", "sha256": None},
        "pack": None,
        "lora": f"webui/models/Lora/{name}/{name}.safetensors",
        "ref_image": f"photog/user_images/{name}/ref_image.jpg",
        "thumbnail": f"webui/models/Lora/{name}/{name}.png",
        "caption": "a portrait of a person",
        "train_steps": 100,
        "used_images": 1,
        "photos": [{"image": 1, "used": True}],
        "settings": {"rank": 16},
        "scores": [
            {
                "step": 100,
                "picture": f"photog/user_weights/{name}/validation/global_step_t_100_0.jpg",
                "score": 0.57,
                "chosen": True,
            }
        ],
        "losses": [[1, 0.25, 0.0001]],
        "checkpoints": [],
        "warnings": [],
        **changes,
    }
    path = server.data_folder / "photog" / "user_weights" / name / "person.json"
    path.write_text(json.dumps(record))
    return record


def listed(server):
    answer = server.http("GET", "/api/people")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def server(start):
    return start(queue_service())


def test_people_are_listed_the_newest_first(server):
    """With what a page shows of them; a damaged record is told apart and hides nobody."""
    assert listed(server) == {"people": [], "in_training": [], "unfinished": [], "damaged": []}
    record = train(server, "anna")
    train(server, "bruno", created="2026-02-01T00:00:00Z", scores=[])
    train(server, "carla", model_id="dora")
    answer = listed(server)
    bruno, anna = answer["people"]
    assert anna == {"score": 0.57} | {
        name: record[name]
        for name in (
            "model_id", "created", "seconds", "train_steps", "used_images", "base", "pack",
            "caption", "lora", "ref_image", "thumbnail",
        )
    }
    assert (bruno["model_id"], bruno["score"]) == ("bruno", None)
    [damaged] = answer["damaged"]
    assert damaged["model_id"] == "carla" and "another person" in damaged["reason"]
    assert server.http("GET", "/api/people/carla").status_code == 500


def test_one_person_is_the_whole_record(server):
    """With the same digits as in the file, and without what this version does not know."""
    record = train(server, "anna", later="unknown")
    answer = server.http("GET", "/api/people/anna")
    assert answer.headers["Content-Type"] == "application/json"
    del record["later"]
    assert answer.json() == record | {"job": None}


@pytest.mark.parametrize("name", ["bruno", "..", "%2e%2e", ".hidden", "a%2fb", "ä", "x" * 200])
def test_nobody_is_found_where_there_is_nobody(server, name):
    """Whatever the id looks like, no other file is read or removed."""
    train(server, "anna")
    for method in ("GET", "DELETE"):
        answer = server.http(method, f"/api/people/{name}")
        assert answer.status_code in (404, 405), answer.text
    assert server.http("GET", f"/api/people/{name}/reference").status_code == 404
    assert server.http("GET", "/api/people/anna").status_code == 200


def test_pictures_are_sent_as_what_they_are_and_kept_by_no_cache(server):
    train(server, "anna")
    for path, kind, content in [
        ("reference", "image/jpeg", JPEG),
        ("thumbnail", "image/png", PNG),
        ("validation/global_step_t_100_0.jpg", "image/jpeg", JPEG + b" judged"),
    ]:
        answer = server.http("GET", f"/api/people/anna/{path}")
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_only_pictures_that_the_record_names_are_sent(server):
    """No other file of the folder, no file elsewhere, and nothing that is no picture."""
    train(server, "anna", thumbnail=None)
    for path in [
        "thumbnail",
        "validation/other.jpg",
        "validation/..%2fperson.json",
        "validation/%2e%2e%2fperson.json",
        "validation/",
        "person.json",
    ]:
        assert server.http("GET", f"/api/people/anna/{path}").status_code == 404, path
    (server.data_folder / "photog/user_images/anna/ref_image.jpg").write_bytes(b"<html>")
    assert server.http("GET", "/api/people/anna/reference").status_code == 404
    train(server, "anna", ref_image="photog.db")
    assert server.http("GET", "/api/people/anna/reference").status_code == 500


def test_all_of_it_needs_the_token(server):
    train(server, "anna")
    for method, path in [
        ("GET", ""),
        ("GET", "/anna"),
        ("DELETE", "/anna"),
        ("GET", "/anna/reference"),
        ("GET", "/anna/thumbnail"),
        ("GET", "/anna/validation/global_step_t_100_0.jpg"),
    ]:
        headers = {"Authorization": "wrong"}
        answer = server.http(method, f"/api/people{path}", headers=headers)
        assert answer.status_code == 401, path
    assert len(listed(server)["people"]) == 1


def test_after_a_removal_no_file_of_the_person_is_left(server):
    train(server, "anna")
    train(server, "bruno")
    half = folders(server.data_folder)["training"] / "anna" / "state" / "optimizer"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    assert listed(server)["unfinished"] == ["anna"]
    answer = server.http("DELETE", "/api/people/anna")
    assert (answer.status_code, answer.json()) == (200, {"model_id": "anna", "removed": True})
    for folder in folders(server.data_folder).values():
        assert not [path for path in folder.rglob("*") if "anna" in str(path.relative_to(folder))]
    answer = listed(server)
    assert [person["model_id"] for person in answer["people"]] == ["bruno"]
    assert answer["unfinished"] == []
    answer = server.http("DELETE", "/api/people/anna")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_a_person_in_training_is_not_removed(server):
    """Another process has the lock, as `photog train` would."""
    train(server, "anna")
    place = folders(server.data_folder)["training"] / "anna"
    place.mkdir(parents=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert listed(server)["in_training"] == ["anna"]
        answer = server.http("DELETE", "/api/people/anna")
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        assert server.http("GET", "/api/people/anna").status_code == 200
    assert listed(server)["in_training"] == []
    assert server.http("DELETE", "/api/people/anna").status_code == 200


def test_a_removal_that_was_cut_off_is_finished_by_the_next_start(server):
    """The mark that it was decided is on the disk before the first file goes."""
    train(server, "anna")
    place = folders(server.data_folder)["training"] / "anna"
    place.mkdir(parents=True)
    (place / "removing").touch()
    (server.data_folder / "photog/user_weights/anna/person.json").unlink()
    server.stop()
    server.start()
    assert listed(server) == {"people": [], "in_training": [], "unfinished": [], "damaged": []}
    for folder in folders(server.data_folder).values():
        assert list(folder.iterdir()) == []


def test_names_of_people_are_not_in_the_log(server):
    train(server, "anna-with-a-name")
    train(server, "damaged-with-a-name", model_id="x")
    listed(server)
    for name in ("anna-with-a-name", "damaged-with-a-name"):
        server.http("GET", f"/api/people/{name}")
        server.http("GET", f"/api/people/{name}/reference")
        server.http("DELETE", f"/api/people/{name}")
    server.stop()
    assert "with-a-name" not in server.stderr_tail()
