"""The unmodified WebUI client against the running program, and the small networks that it uses."""

import pathlib
import shutil
import threading

import webuiapi

from photog_process import TOKEN

FIXTURES = pathlib.Path(__file__).parent.parent / "reference" / "fixtures" / "diffusion"
# Below the root of the model folders, as the WebUI lays them out.
PLACES = {
    # A folder: a single file has no vocabulary of its own, and these networks know few words.
    "tiny": ["models/Stable-diffusion/tiny", "models/Stable-diffusion/tiny_other"],
    "tiny_lora_kohya.safetensors": ["models/Lora/tiny_lora_kohya.safetensors"],
    "tiny_controlnet": ["models/ControlNet/tiny_controlnet"],
    "tiny_embedding_webui.safetensors": ["embeddings/tiny_embedding.safetensors"],
}
# Small enough for a processor, large enough for the networks.
SMALL = {"width": 64, "height": 64, "steps": 2}


def install_networks(data_folder):
    """Puts the small networks of the test data where the program looks for them."""
    for name, places in PLACES.items():
        for place in places:
            target = data_folder / "webui" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            source = FIXTURES / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)


def client(server, token=TOKEN):
    """A client of this server, which sends the token as the password of its user."""
    return webuiapi.WebUIApi(host=server.host, port=server.port, username="anna", password=token)


class Request(threading.Thread):
    """A request in another thread; `answer` once it has come."""

    def __init__(self, server, **body):
        super().__init__(daemon=True)
        self.server, self.body, self.answer = server, body, None
        self.start()

    def run(self):
        self.answer = self.server.http("POST", "/sdapi/v1/txt2img", json=self.body, timeout=80)

    def done(self):
        self.join(60)
        assert self.answer is not None, "no answer"
        return self.answer


def jobs(server, state):
    query = {"service": "photog_sd", "state": state}
    return server.http("GET", "/api/jobs", query).json()["jobs"]
