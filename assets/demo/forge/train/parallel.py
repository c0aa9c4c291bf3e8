"""Training by several processes of one thread each, which share their gradients after each step.

Two threads inside of one process wait for each other at every operator, which is slow where other
programs want the processor too; processes wait once a step.

Promises: all processes have equal weights at all times, and stop at the same step, which the first one
chooses.
"""

import multiprocessing
import os
import socket
import threading

import torch
from torch import distributed


class Team:
    """The processes that train one network together, seen from one of them."""

    def __init__(self, rank=0, size=1):
        self.rank, self.size = rank, size

    @property
    def is_first(self):
        return self.rank == 0

    def share(self, parameters, is_over=False):
        """Means of the gradients over all processes; gives whether the first one says it is over."""
        if self.size == 1:
            return is_over
        gradients = [value.grad for value in parameters if value.grad is not None]
        word = torch.tensor([float(is_over and self.is_first)])
        self.add([*gradients, word])
        for gradient in gradients:
            gradient /= self.size
        return bool(word > 0)

    def add(self, tensors):
        """Puts into each tensor the sum of what all processes have there."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


# The C library gives large blocks back to the system as soon as they are free, and getting them anew
# costs as much as computing with them. This lets it keep them; it is read when a process begins.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "67108864",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def start(work, size, *arguments):
    """Calls `work(rank, size, *arguments)` in `size` new processes and waits for them. `work` has to be a
    function of a module."""
    os.environ.update(KEEP_MEMORY)
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=attended, args=(work, rank, size, *arguments)) for rank in range(size)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        if job.exitcode:
            for other in jobs:
                other.terminate()
            raise SystemExit("one of the processes failed; run it again to go on")


def attended(work, *arguments):
    """Calls `work(*arguments)` in a process that ends when its parent does, killed or not."""

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    work(*arguments)


def train(work, size, *arguments):
    """Calls `work(team, *arguments)` in each of the processes of a team, which is one where there is a GPU."""
    if torch.cuda.is_available():
        size = 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start(member, size, work, port, arguments)


def member(rank, size, work, port, arguments):
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
    finally:
        distributed.destroy_process_group()
