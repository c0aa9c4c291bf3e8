"""The SDK's watcher, left the way that leaves no ghost consumer behind."""

import contextlib


@contextlib.contextmanager
def watching(client, index=0, window=1, **options):
    """Gives the watcher's frames; the link is made when the first one is asked for.

    The loop over the frames ends before the watcher is closed: the other way round the SDK
    connects once more and takes entries that nobody reads.
    """
    watcher = client.watch(index, window, **options)
    frames = watcher.run()
    try:
        yield frames
    finally:
        frames.close()
        if client.watch_sock is not None:
            watcher.close()
