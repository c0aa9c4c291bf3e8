"""Service JSON in the form of the cloud, for the services that the tests start."""


def queue_service(name="queue_try", **queue):
    """Two queues without a worker; members of `queue` go into the JSON as they are."""
    settings = {"max_delivery": 5}
    settings.update(queue)
    return {"metadata": {"name": name, "type": "Queue", "instance": 1}, "queue": settings}


def echo_service(name="echo_async", kind="Async", milliseconds=20, keepalive=600_000, **queue):
    """A service whose engine writes its input back after `milliseconds`."""
    settings = {"max_delivery": 1}
    settings.update(queue)
    return {
        "metadata": {
            "name": name,
            "type": kind,
            "instance": 1,
            "rpc": {"keepalive": keepalive, "worker_threads": 1},
            "photog_role": "echo",
            "photog_echo_ms": milliseconds,
        },
        "queue": settings,
    }


def echo_job(**changes):
    """The same engine as a Scalable Job."""
    return echo_service("echo_job", "ScalableJob", **changes)


def picture_service(name="photog_sd", keepalive=600_000, **queue):
    """A service that makes pictures, for the WebUI's routes."""
    settings = {"max_delivery": 1}
    settings.update(queue)
    return {
        "metadata": {
            "name": name,
            "type": "Async",
            "instance": 1,
            "rpc": {"keepalive": keepalive, "worker_threads": 1},
            "photog_role": "sd",
        },
        "queue": settings,
    }
