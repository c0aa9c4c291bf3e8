"""One call of `photog_check` through the SDK, and its verdicts."""

import json

from waiting import until

USABLE, UNREACHABLE, UNREADABLE, TOO_SMALL, NO_FACE = 1, 2, 3, 4, 5
SEVERAL_FACES, FACE_TOO_SMALL, POOR_QUALITY, ANOTHER_PERSON = 6, 7, 8, 9

MESSAGES = {
    USABLE: "success",
    UNREACHABLE: "image download failed",
    UNREADABLE: "image decode failed",
    TOO_SMALL: "image too small",
    NO_FACE: "no face detected",
    SEVERAL_FACES: "multiple faces detected",
    FACE_TOO_SMALL: "face too small",
    POOR_QUALITY: "face quality too low",
    ANOTHER_PERSON: "not the same person",
}

ANSWER_SECONDS = 80


def ask(server, images, **configure):
    """The answer to a request about `images`, whatever it is, and the tags of its entry."""
    body = {"request_id": 1, "images": images}
    if configure:
        body["configure"] = configure
    _, request_id = server.client("photog_check").put(json.dumps(body), {"taskType": "query"})
    sink = server.client("photog_check/sink")
    [frame] = until(lambda: sink.get(request_id=request_id, timeout="1s"), ANSWER_SECONDS)
    return json.loads(frame.data), dict(frame.tags)


def check(server, images, **configure):
    """The answer to a request about `images`, after judging the frame around the verdicts."""
    answer, _ = ask(server, images, **configure)
    assert (answer["code"], answer["message"]) == ("OK", "success")
    assert answer["request_id"] == 1
    told = [as_told(image) for image in images]
    assert answer["images"] == told
    assert answer["cost_time"] >= 0
    assert [verdict["url"] for verdict in answer["check_results"]] == told
    for verdict in answer["check_results"]:
        assert verdict["message"] == MESSAGES[verdict["code"]], verdict
        assert isinstance(verdict["frontal"], bool)
    return answer


def as_told(image):
    """An address as answers repeat it: a long one, such as a picture itself, by its beginning."""
    return image if len(image.encode()) <= 4096 else image[:64] + "…"


def codes(answer):
    """The verdicts in the order of the pictures."""
    return [verdict["code"] for verdict in answer["check_results"]]


def frontal(answer):
    """Which faces look to the camera, in the order of the pictures."""
    return [verdict["frontal"] for verdict in answer["check_results"]]
