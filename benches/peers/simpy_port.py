"""The workload of `agent-benches simulate` in SimPy: workers that think, wait for a limit of requests
in any minute, call, and go on. Only the times are modelled: no tokens are limited, nothing is
supervised, budgeted by scope, retried, journalled or recorded.

    python3 benches/peers/simpy_port.py WORKERS TASKS REQUESTS_PER_MINUTE

prints one JSON line: CPU and wall time in nanoseconds a task, and the makespan in seconds.
"""

import json
import random
import sys
import time
from collections import deque

import simpy

MINUTE = 60.0


class Limiter:
    """So many requests in any minute, first come first served."""

    def __init__(self, env, limit):
        self.env = env
        self.limit = limit
        self.taken = deque()
        self.waiting = deque()

    def has_room(self):
        while self.taken and self.taken[0] + MINUTE <= self.env.now:
            self.taken.popleft()
        return len(self.taken) < self.limit

    def acquire(self):
        permit = self.env.event()
        if not self.waiting and self.has_room():
            self.taken.append(self.env.now)
            return permit.succeed()
        self.waiting.append(permit)
        if len(self.waiting) == 1:
            self.env.process(self.admit())
        return permit

    def admit(self):
        while self.waiting:
            if self.has_room():
                self.taken.append(self.env.now)
                self.waiting.popleft().succeed()
            else:
                # Just after the oldest has left the minute, whatever the sum is rounded to.
                yield self.env.timeout(max(self.taken[0] + MINUTE - self.env.now, 1e-9))


class Run:
    def __init__(self, workers, tasks, limit):
        self.env = simpy.Environment()
        self.limiter = Limiter(self.env, limit)
        self.random = random.Random(1)
        self.left = tasks
        self.cost = 0.0
        self.latencies = []
        for _ in range(workers):
            self.env.process(self.worker())
        self.env.run()

    def worker(self):
        draw = self.random
        while self.left > 0:
            self.left -= 1
            began = self.env.now
            yield self.limiter.acquire()
            tokens_in = draw.lognormvariate(6.214608, 0.5)
            tokens_out = draw.lognormvariate(5.010635, 0.5)
            yield self.env.timeout((1.0 + 0.002 * tokens_out) * draw.lognormvariate(0.0, 0.3))
            self.cost += tokens_in * 1e-6 + tokens_out * 5e-6
            self.latencies.append(self.env.now - began)
            yield self.env.timeout(draw.expovariate(1.0))


def main():
    workers, tasks, limit = map(int, sys.argv[1:4])
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    run = Run(workers, tasks, limit)
    cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
    assert len(run.latencies) == tasks
    print(json.dumps({
        "cpu_ns": cpu // tasks,
        "wall_ns": wall // tasks,
        "makespan_s": run.env.now,
    }))


if __name__ == "__main__":
    main()
