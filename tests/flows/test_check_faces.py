"""Verdicts of `photog_check` on real photos of people, with the real networks."""

import json

import pytest
from PIL import Image

import samples
from checking import (
    ANOTHER_PERSON,
    FACE_TOO_SMALL,
    NO_FACE,
    POOR_QUALITY,
    SEVERAL_FACES,
    TOO_SMALL,
    UNREACHABLE,
    UNREADABLE,
    USABLE,
    ask,
    check,
    codes,
    frontal,
)
from picture_server import serving

# Two people in several photos each, all larger than 512 x 512 and each with one face; the first
# photo of each looks to the camera.
ANNA = ["persons/p03/01.jpg", "persons/p03/02.jpg", "persons/p03/04.jpg"]
BERTA = ["persons/p02/04.jpg", "persons/p02/05.jpg", "persons/p02/08.jpg"]

OPEN = {"PHOTOG_ALLOW_PRIVATE_NETWORKS": "true"}
BARE = OPEN | {"PHOTOG_PACK": "none"}


@pytest.fixture(scope="module")
def photog(start_shared):
    """The built-in services with the real networks, for pictures on loopback."""
    return start_shared(environment=OPEN, models=True)


@pytest.fixture(scope="module")
def web():
    """A loopback server to which the tests add pictures."""
    with serving({}) as server:
        yield server


@pytest.fixture(scope="module")
def portrait():
    """1024 x 1280 pixels, one face that looks to the camera."""
    return samples.photo(BERTA[0])


def addresses(web, names):
    """The addresses of untouched photos."""
    return [web.put(f"/{name}", samples.photo_bytes(name)) for name in names]


def test_photos_of_one_person_are_of_the_same_person(photog, web):
    """Every photo is usable, and `same_person` says yes; the first one looks to the camera."""
    for person in (ANNA, BERTA):
        answer = check(photog, addresses(web, person), face_reconize=True)
        assert codes(answer) == [USABLE] * len(person)
        assert frontal(answer)[0] is True
        assert answer["same_person"] is True


def test_the_odd_one_out_is_named(photog, web):
    """Of three photos of one person and one of another, that one gets the verdict 9."""
    for place in (0, 2, 3):
        names = list(ANNA)
        names.insert(place, BERTA[0])
        answer = check(photog, addresses(web, names), face_reconize=True)
        expected = [USABLE] * len(ANNA)
        expected.insert(place, ANOTHER_PERSON)
        assert codes(answer) == expected
        assert answer["same_person"] is False


def test_two_people_with_one_photo_each_are_not_the_same(photog, web):
    """There is no majority, but the answer is no all the same."""
    answer = check(photog, addresses(web, [ANNA[0], BERTA[0]]), face_reconize=True)
    assert answer["same_person"] is False
    assert set(codes(answer)) <= {USABLE, ANOTHER_PERSON}
    assert ANOTHER_PERSON in codes(answer)


def test_without_face_reconize_nobody_is_compared(photog, web):
    """Two people are two usable photos then, and `same_person` is null."""
    images = addresses(web, [ANNA[0], BERTA[0]])
    for configure in ({}, {"face_reconize": False}):
        answer = check(photog, images, **configure)
        assert codes(answer) == [USABLE, USABLE]
        assert answer["same_person"] is None


def test_one_usable_photo_cannot_be_compared(photog, web):
    """With fewer than two usable faces there is nothing to say about the person."""
    images = [*addresses(web, ANNA[:1]), web.url("/nowhere.jpg")]
    answer = check(photog, images, face_reconize=True)
    assert codes(answer) == [USABLE, UNREACHABLE]
    assert answer["same_person"] is None


def test_every_orientation_is_turned_upright(photog, web, portrait):
    """All eight EXIF orientations give the same upright face: usable, frontal, the same person."""
    images = [
        web.put(f"/orientation_{number}.jpg", samples.with_orientation(portrait, number))
        for number in range(1, 9)
    ]
    answer = check(photog, images, face_reconize=True)
    assert codes(answer) == [USABLE] * 8
    assert frontal(answer) == [True] * 8
    assert answer["same_person"] is True


def test_a_turned_face_without_orientation_is_no_good(photog, web, portrait):
    """Upside down and without a tag, the face is not the person that the other photos show."""
    turned = web.put("/turned.jpg", samples.jpeg(portrait.transpose(Image.Transpose.ROTATE_180)))
    answer = check(photog, [*addresses(web, BERTA), turned], face_reconize=True)
    assert codes(answer)[:-1] == [USABLE] * len(BERTA)
    assert codes(answer)[-1] in (NO_FACE, POOR_QUALITY, ANOTHER_PERSON)


def forms_of(portrait):
    """The same portrait in every form of file that a caller may send."""
    grey = portrait.convert("L")
    return {
        "mirrored.jpg": samples.jpeg(portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "grey.jpg": samples.jpeg(grey),
        "cmyk.jpg": samples.jpeg(portrait.convert("CMYK")),
        "progressive.jpg": samples.jpeg(portrait, progressive=True),
        "full_colour.jpg": samples.jpeg(portrait, subsampling=0),
        "colour.png": samples.png(portrait, compress_level=1),
        "grey.png": samples.png(grey, compress_level=1),
        "grey_16.png": samples.png(grey.convert("I").point(lambda value: value * 257).convert("I;16")),
        "colour_16.png": samples.png_16_bit(portrait),
        "palette.png": samples.png(portrait.quantize(256)),
        "alpha.png": samples.png(samples.with_transparent_rim(portrait), compress_level=1),
        "grey_alpha.png": samples.png(grey.convert("LA"), compress_level=1),
    }


def test_the_form_of_the_file_does_not_change_the_verdict(photog, web, portrait):
    """Mirrored, grey, CMYK, progressive, with alpha, palette and 16 bits: the same usable person."""
    forms = forms_of(portrait)
    images = [web.put(f"/{name}", body) for name, body in forms.items()]
    answer = check(photog, images, face_reconize=True)
    assert dict(zip(forms, codes(answer))) == dict.fromkeys(forms, USABLE)
    assert dict(zip(forms, frontal(answer))) == dict.fromkeys(forms, True)
    assert answer["same_person"] is True


def test_a_huge_photo_is_judged(photog, web, portrait):
    """27 megapixels, more than twice a phone's: usable, and the memory does not stay taken."""
    face = portrait.crop((0, 100, 1024, 868)).resize((6000, 4500), Image.Resampling.BICUBIC)
    before = photog.anonymous_memory()
    answer = check(photog, [web.put("/huge.jpg", samples.jpeg(face, quality=85))])
    assert codes(answer) == [USABLE]
    assert frontal(answer) == [True]
    assert photog.anonymous_memory() - before < 400 << 20


@pytest.mark.parametrize(
    ("size", "verdict"), [((410, 513), TOO_SMALL), ((512, 640), TOO_SMALL), ((514, 643), USABLE)]
)
def test_a_picture_has_to_be_larger_than_512(photog, web, portrait, size, verdict):
    """The same portrait below, at and above the limit."""
    small = samples.jpeg(portrait.resize(size))
    assert codes(check(photog, [web.put(f"/{size[0]}.jpg", small)])) == [verdict]


def test_a_small_face_is_told_from_none(photog, web, portrait):
    """A face below an eighth of the picture is too small; at twice that it is usable."""
    distant = samples.jpeg(samples.on_canvas(portrait, (2000, 2000), 0.2))
    nearer = samples.jpeg(samples.on_canvas(portrait, (2000, 2000), 0.6))
    images = [web.put("/distant.jpg", distant), web.put("/nearer.jpg", nearer)]
    assert codes(check(photog, images)) == [FACE_TOO_SMALL, USABLE]


def test_a_photo_from_far_away_is_too_small_a_face(photog, web):
    """A real one: 36 megapixels with a face of 8 % of the width."""
    answer = check(photog, addresses(web, ["persons/p01/01.jpg"]))
    assert codes(answer) == [FACE_TOO_SMALL]


@pytest.mark.parametrize(
    "name", ["groups/compreface_010_2.jpg", "groups/compreface_000_5.jpg", "groups/solvay1927_29.jpg"]
)
def test_several_people_are_refused(photog, web, name):
    """Two, five and twenty-nine faces."""
    assert codes(check(photog, addresses(web, [name]))) == [SEVERAL_FACES]


@pytest.mark.parametrize("name", ["noface/house.jpg", "noface/coffee.png", "noface/stones.png"])
def test_a_photo_of_nobody_has_no_face(photog, web, name):
    """Things, enlarged so that they are not refused for their size."""
    thing = samples.photo(name)
    large = samples.jpeg(thing.resize((2 * thing.width, 2 * thing.height)))
    answer = check(photog, [web.put("/thing.jpg", large)])
    assert codes(answer) == [NO_FACE]
    assert frontal(answer) == [False]


def test_a_blurred_or_dark_face_is_refused(photog, web, portrait):
    """What cannot be learned from is told by the quality of the face."""
    images = [
        web.put("/blurred.jpg", samples.jpeg(samples.blurred(portrait))),
        web.put("/dark.jpg", samples.jpeg(samples.darkened(portrait))),
    ]
    assert set(codes(check(photog, images))) <= {POOR_QUALITY, NO_FACE}
    assert codes(check(photog, images[:1])) == [POOR_QUALITY]


def test_a_profile_does_not_look_to_the_camera(photog, web):
    """A face from the side is no frontal one, whatever else is said of it."""
    side = samples.photo("hard/profile_bw.png").crop((128, 56, 328, 256)).resize((800, 800))
    answer = check(photog, [web.put("/side.png", samples.png(side))])
    assert frontal(answer) == [False]


def test_one_bad_photo_does_not_spoil_the_others(photog, web, portrait):
    """A request with one photo of each kind: each gets its own verdict, in order."""
    distant = samples.on_canvas(portrait, (1600, 1600), 0.2)
    images = [
        web.put("/garbage.jpg", b"this is not a picture"),
        *addresses(web, ANNA[:1]),
        web.url("/nowhere.jpg"),
        web.put("/tiny.jpg", samples.jpeg(portrait.resize((100, 125)))),
        *addresses(web, ["groups/compreface_012_4.jpg"]),
        *addresses(web, ANNA[1:]),
        web.put("/distant.jpg", samples.jpeg(distant)),
        *addresses(web, BERTA[:1]),
    ]
    answer = check(photog, images, face_reconize=True)
    assert codes(answer) == [
        UNREADABLE, USABLE, UNREACHABLE, TOO_SMALL, SEVERAL_FACES, USABLE, USABLE,
        FACE_TOO_SMALL, ANOTHER_PERSON,
    ]  # fmt: skip
    assert answer["same_person"] is False


def test_without_a_detector_the_answer_says_how_to_get_one(start, web):
    """Without networks: what is missing, where it belongs, and the command that fetches it."""
    server = start(environment=BARE)
    image = web.put("/any.jpg", b"this is not a picture")
    answer, tags = ask(server, [image], face_reconize=True)
    assert answer["code"] not in ("OK", "INTERNAL_ERROR")
    assert answer["request_id"] == 1
    for part in ("face-detector", "webui/models/photog", "photog models", "--pack demo"):
        assert part in answer["message"], answer["message"]
    assert tags["lastCode"] == "503"
    assert server.running


def test_a_detector_that_arrives_later_is_found_without_a_restart(start, web):
    """The next request after the files are there is judged by them."""
    server = start(environment=BARE)
    [image] = addresses(web, ANNA[:1])
    answer, _ = ask(server, [image])
    assert answer["code"] != "OK"
    samples.install_models(server.data_folder)
    assert codes(check(server, [image])) == [USABLE]


def test_a_damaged_detector_is_named_and_nothing_falls(start, web):
    """A file that is no network is an error that names it; the service goes on."""
    server = start(environment=OPEN, models=True)
    [detector] = server.data_folder.rglob("yunet*.onnx")
    whole = detector.read_bytes()
    detector.write_bytes(whole[: len(whole) // 2])
    [image] = addresses(web, ANNA[:1])
    answer, _ = ask(server, [image])
    assert answer["code"] != "OK"
    assert detector.name in json.dumps(answer)
    detector.write_bytes(whole)
    assert codes(check(server, [image])) == [USABLE]
