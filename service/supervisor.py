"""Who starts, replaces and ends several workers, and hears a signal at any time.

uvicorn's own waits until a worker has answered or ended, and hears nothing meanwhile: of one whose start has
failed, for two minutes. Here each turn of its loop asks, and nobody waits. Knows uvicorn and processes.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from itertools import chain
from multiprocessing.process import BaseProcess
from socket import socket
from threading import Thread

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from service.shutdown import HURRY, LOOK_S, SIGNALS
from service.workers import dismiss, share, tidy

log = logging.getLogger(__name__)


class Worker(Process):
    """A worker that is asked for a sign of life, and not waited for."""

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        """Make it; `start` starts it."""
        super().__init__(config, sockets)
        self.has_served = False
        self._asked: float | None = None
        self._told = False

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve, in the worker's own process, for as long as its parent lives."""
        # The server raises its signal once more when it has shut down, which would end the process here.
        for number in SIGNALS:
            signal.signal(number, lambda *_: sys.exit(0))
        folder = share()
        Thread(target=self._leave_as_orphan, args=[folder], daemon=True).start()
        try:
            super().target(sockets)
        finally:
            if not _parent().is_alive():
                tidy(folder)

    def _leave_as_orphan(self, folder: int) -> None:
        """Wait until the parent has died, then leave as at SIGTERM: nobody else will say so, or tidy up."""
        _parent().join()
        if self.server.started:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        log.info("stopped while starting")
        tidy(folder)
        logging.shutdown()
        os._exit(0)

    def is_alive(self, timeout: float = 5) -> bool:
        """Whether it runs, and owes no answer for longer than `timeout` seconds."""
        if not self.process.is_alive():
            return False
        if self._asked is not None and self.parent_conn.poll():
            self.has_served = self.parent_conn.recv()
            self._asked = None
        if self._asked is None:
            self.parent_conn.send(b"ping")
            self._asked = time.monotonic()
        return time.monotonic() - self._asked < timeout

    def is_ready(self, timeout: float = 5) -> bool:
        """Whether it lives, and has answered that it serves."""
        return self.is_alive(timeout) and self.has_served

    def has_failed(self) -> bool:
        """Whether it has ended before it served, by a fault that the next one may meet too."""
        return not self.has_served and bool(self.exitcode and self.exitcode > 0)

    def terminate(self) -> None:
        """Tell it to leave, once."""
        if not self._told:
            self._told = True
            super().terminate()

    def hurry(self) -> None:
        """Have it leave at once, whatever it is answering."""
        if self.exitcode is None:
            assert self.pid
            os.kill(self.pid, HURRY)


class Supervisor(Multiprocess):
    """Watches over the workers; what takes several turns goes on at each, one thing after another."""

    # None of them is started elsewhere.
    processes: list[Worker]  # type: ignore[assignment]

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        """Take the signals; `run` starts the workers, who share the `sockets`."""
        super().__init__(config, sockets)
        self._to_do: Iterator[None] = iter(())
        self._starting: list[Worker] = []
        self._leaving: list[Worker] = []
        self._served = self._failed = self._impatient = False

    def run(self) -> None:
        """Serve until a signal; a start that has failed ends the process, as that of one worker does."""
        super().run()
        if self._failed:
            sys.exit(STARTUP_FAILURE)

    def init_processes(self) -> None:
        """Start as many as there are to be."""
        self.processes = [self._started() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Start another for each that has died or hangs, then go on with what is to do."""
        if self.should_exit.is_set():
            return
        for index, worker in enumerate(self.processes):
            if worker.is_alive(self.config.timeout_worker_healthcheck):
                continue
            worker.kill()
            worker.join()
            if worker.has_failed() and not self._served:
                log.error("worker %s failed to start, and so would the next one", worker.pid)
                self._failed = True
                self.should_exit.set()
                return
            log.info("worker %s died", worker.pid)
            self.processes[index] = self._started()
        self._served = self._served or any(worker.has_served for worker in self.processes)
        next(self._to_do, None)

    def restart_all(self) -> None:
        """Replace each worker, one after another, in the turns to come."""
        self._to_do = chain(self._to_do, self._replacing())

    def handle_ttin(self) -> None:
        """Have one worker more."""
        if not self.should_exit.is_set():
            self.processes_num += 1
            self.processes.append(self._started())

    def handle_ttou(self) -> None:
        """Have one worker less, but one."""
        if self.processes_num > 1:
            self.processes_num -= 1
            self._leaving.append(self.processes.pop())
            self._to_do = chain(self._to_do, self._retiring(self._leaving[-1]))

    def handle_term(self) -> None:
        """Leave; a second signal has the workers wait for nobody, as with one worker."""
        self._impatient = self.should_exit.is_set()
        super().handle_term()

    def handle_int(self) -> None:
        """Leave in the same way."""
        self._impatient = self.should_exit.is_set()
        super().handle_int()

    def terminate_all(self) -> None:
        """Tell all to leave, those too that were to leave one after another."""
        dismiss()
        self.processes += [*self._starting, *self._leaving]
        super().terminate_all()

    def join_all(self) -> None:
        """Wait until all have left, or for nobody."""
        while any(worker.exitcode is None for worker in self.processes):
            self.handle_signals()
            if self._impatient:
                for worker in self.processes:
                    worker.hurry()
            time.sleep(LOOK_S)
        super().join_all()

    def _started(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    def _replacing(self) -> Iterator[None]:
        """Start each worker's successor, and tell the worker to leave when that one serves."""
        patience_s = self.config.timeout_worker_healthcheck
        for old in tuple(self.processes):
            if old not in self.processes:
                continue  # it has died or left meanwhile
            new = self._started()
            self._starting = [new]
            end = time.monotonic() + patience_s
            while not new.is_ready(patience_s):
                if not new.is_alive(patience_s) or time.monotonic() > end:
                    new.kill()
                    new.join()
                    self._starting = []
                    log.error("worker %s was not ready in time, and worker %s stays", new.pid, old.pid)
                    return
                yield
            self._starting = []
            leaving = new
            if old in self.processes:  # else it has died or left meanwhile, and its place is taken or gone
                self.processes[self.processes.index(old)] = new
                leaving = old
            self._leaving.append(leaving)
            yield from self._retiring(leaving)

    def _retiring(self, worker: Worker) -> Iterator[None]:
        """Tell a worker to leave, and wait until it has."""
        worker.terminate()
        while worker.exitcode is None:
            yield
        self._leaving.remove(worker)


def _parent() -> BaseProcess:
    parent = multiprocessing.parent_process()
    assert parent
    return parent
