"""Batches in logical replicas, shared out among the processes that torchrun started.

BatchNorm and the loss are defined over a replica, and the gradients of the replicas are summed in a fixed order. So the
result depends on the number of replicas (`train.replicas`), and not by a single bit on the number of processes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from marketplace.common.errors import MarketplaceError

Result = TypeVar("Result")
WAIT = timedelta(days=1)  # for the first process, which does alone what is done once


class Team:
    """The processes of a training run; `rank` is this one's number, from 0, among `size`."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def is_first(self) -> bool:
        """True for the process that validates, records and writes."""
        return self.rank == 0

    def from_first(self, work: Callable[[], Result]) -> Result:
        """What `work()` gives in the first process; the others wait for it."""
        if self.size == 1:
            return work()
        values: list[Any] = [work() if self.is_first else None]
        distributed.broadcast_object_list(values, device=torch.device("cpu"))
        result: Result = values[0]
        return result

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.gathered(torch.zeros(1))

    def gathered(self, values: Tensor) -> Tensor:
        """The values of every process: `(size, *values.shape)`."""
        if self.size == 1:
            return values[None]
        everyone = [torch.empty_like(values) for _ in range(self.size)]
        distributed.all_gather(everyone, values)
        return torch.stack(everyone)


ALONE = Team()


@contextmanager
def joined_team(replicas: int) -> Iterator[Team]:
    """The team of processes that torchrun started, or of this one alone.

    With more than one replica a process uses one thread on a CPU: other numbers round otherwise, and torchrun chooses
    them by the number of processes.

    Raises MarketplaceError if the replicas cannot be shared out evenly.
    """
    rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if replicas % size:
        raise MarketplaceError(
            f"train.replicas = {replicas} cannot be shared out evenly among {size} processes: set it to a multiple of "
            f"{size}, or start as many processes as divide it (torchrun --nproc-per-node)."
        )
    n_threads = torch.get_num_threads()
    if replicas > 1:
        torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if size > 1:
        distributed.init_process_group(timeout=WAIT)  # gloo on a CPU, and NCCL for what lies on GPUs
    try:
        yield Team(rank, size)
    finally:
        torch.set_num_threads(n_threads)
        if size > 1:
            distributed.destroy_process_group()


class Replicas:
    """The gradients of batches that are cut into `n` replicas."""

    def __init__(self, network: nn.Module, n: int, team: Team) -> None:
        self._network, self._n, self._team = network, n, team
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]

    def backward(self, batch: np.ndarray, loss_of: Callable[[np.ndarray], Tensor]) -> Tensor:
        """Set the gradients of the mean loss over a batch, and return that loss.

        `loss_of` gives the mean loss over the photos of a replica. The statistics of BatchNorm become the mean of what
        they are after each replica alone.
        """
        if self._n == 1:
            return self._of_replica(batch, loss_of)
        parts = np.array_split(batch, max(1, min(self._n, len(batch) // 2)))  # BatchNorm needs two photos
        statistics, counters = self._moving()
        before = [value.clone() for value in statistics + counters]
        mine = []
        for number in range(self._team.rank, self._n, self._team.size):
            for value, earlier in zip(statistics + counters, before, strict=True):
                value.copy_(earlier)
            part = parts[number] if number < len(parts) else parts[0]  # not counted below
            loss = self._of_replica(part, loss_of)
            values = torch.cat([value.flatten().float() for value in (loss, *self._gradients(), *statistics)])
            mine.append(values * (len(part) / len(batch)))
        everyone = self._team.gathered(torch.stack(mine))  # (processes, replicas of each, values)
        total = torch.zeros_like(mine[0])
        for number in range(len(parts)):
            total += everyone[number % self._team.size, number // self._team.size]
        targets = [loss, *self._gradients(), *statistics]
        for target, value in zip(targets, total.split([target.numel() for target in targets]), strict=True):
            target.copy_(value.view_as(target))
        return loss

    def _of_replica(self, part: np.ndarray, loss_of: Callable[[np.ndarray], Tensor]) -> Tensor:
        for parameter in self._parameters:
            parameter.grad = None
        loss = loss_of(part)
        loss.backward()
        return loss.detach()

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self._parameters if parameter.grad is not None]

    def _moving(self) -> tuple[list[Tensor], list[Tensor]]:
        """The statistics of BatchNorm that training moves, and its counters of batches."""
        layers = [layer for layer in self._network.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
        statistics = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
        counters = [layer.num_batches_tracked for layer in layers]
        return [value for value in statistics if value is not None], [value for value in counters if value is not None]
