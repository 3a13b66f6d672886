#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An event loop of python3 (asyncio): epoll, and a pair of sockets by which threads and signals wake it."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, main  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = """
import asyncio, os, signal, threading, time
count, woken = 0, []
async def work():
    global count
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: print("signal", flush=True))
    def wake():
        for number in range(100000):
            loop.call_soon_threadsafe(woken.append, number)
            time.sleep(0.005)
    threading.Thread(target=wake, daemon=True).start()
    while not os.path.exists("enough"):
        await asyncio.sleep(0.01)
        count += 1
        print("tick", count, len(woken), flush=True)
    assert woken == list(range(len(woken)))
asyncio.run(work())
os._exit(7)
"""


class EventLoop(Case):
    def ticks(self):
        return self.text("program.out").count("tick")

    def wait_for_ticks(self, more=10):
        count = self.bytes("program.out").count(b"\n")
        self.wait_for_lines("program.out", count + more, 60)

    def test_it_goes_on_and_is_woken_by_threads_and_signals(self):
        self.write("loop.py", PROGRAM)
        popen = self.start("python3", "loop.py")
        self.wait_for_ticks()
        pid = popen.pid
        for round_number in range(2):
            snapshot = self.checkpoint(pid)
            self.kill(popen if round_number == 0 else pid)
            pid = self.restart(snapshot)
            self.wait_for_ticks()
            os.kill(pid, signal.SIGUSR1)
            self.wait_for_ticks()
            self.assertEqual(self.text("program.out").count("signal"), round_number + 1)
        snapshot = self.checkpoint(pid)
        self.kill(pid)
        self.write("enough", "")
        self.assertEqual(self.foreground(snapshot).wait(60), 7)
        lines = [line.split() for line in self.text("program.out").splitlines() if line.startswith("tick")]
        self.assertEqual([int(line[1]) for line in lines], list(range(1, len(lines) + 1)))
        self.assertEqual(lines, sorted(lines, key=lambda line: int(line[2])))


if __name__ == "__main__":
    main()
