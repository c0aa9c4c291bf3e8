"""The hosted AI-portrait API: its unmodified Python client, and requests as other clients sign them."""

import hashlib
import hmac
import json

import pytest
import requests
from ai_service_python_sdk.client.api.ai_service_aigc_images_api import AIGCImagesApi
from ai_service_python_sdk.client.api.ai_service_job_api import AiServiceJobApi
from ai_service_python_sdk.client.api_client import ApiClient
from ai_service_python_sdk.client.rest import ApiException

from waiting import until

STUDIO = ("studio", "studio-token")
OTHER = ("other", "other:token")
APPS = {"PHOTOG_APPS": ",".join(":".join(app) for app in (STUDIO, OTHER))}
RUNS, SUCCEEDED, FAILED = 1, 2, 3


class Hosted:
    """The client as one app."""

    def __init__(self, server, app=STUDIO):
        client = ApiClient(server.url("/"), *app)
        self.images = AIGCImagesApi(client)
        self.jobs = AiServiceJobApi(client)

    def train(self, images, configure=None):
        """The answer's data: `job_id` and `model_id`."""
        return data(self.images.aigc_images_train(images, "", configure))

    def job(self, number):
        """A job, after judging what is the same in all states."""
        job = data(self.jobs.get_async_job_with_id(number))["job"]
        assert (job["id"], job["app_id"]) == (number, self.jobs.api_client.configuration.appid)
        assert isinstance(job["Result"], str) and job["result"] == job["Result"]
        assert job["state"] in (RUNS, SUCCEEDED, FAILED)
        return job

    def ended(self, number, seconds=80):
        """A job, once it has ended."""

        def end():
            job = self.job(number)
            return job if job["state"] != RUNS else None

        return until(end, seconds)


def data(response):
    """What a successful call is about."""
    assert (response.code, response.message) == ("OK", "success"), response
    assert response.request_id
    return response.data


def refusal(call, *arguments):
    """Status, code and text of a call that has to be refused."""
    with pytest.raises(ApiException) as refused:
        call(*arguments)
    envelope = json.loads(refused.value.body)
    assert set(envelope) == {"request_id", "code", "message", "data"}, envelope
    assert envelope["request_id"] and envelope["message"] and envelope["data"] == {}
    return refused.value.status, envelope["code"], envelope["message"]


def signature(token, method, path, body=b""):
    text = f"{method}\n{hashlib.md5(body).hexdigest()}\n{path}"
    return hmac.new(token.encode(), text.encode(), hashlib.sha256).hexdigest()


def ask(server, method, path, body=b"", app=STUDIO, signed=None, headers=None):
    """A plain request; `signed` is the path as it is signed, if that is not the one that is sent."""
    app_id, token = app
    sign = f"{app_id}:{signature(token, method, signed or path, body)}"
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            method,
            server.url(path),
            data=body,
            headers={"Authorization": sign} | (headers or {}),
            timeout=60,
        )
