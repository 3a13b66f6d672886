# SPDX-License-Identifier: Apache-2.0
"""A long computation in small: appends numbered lines to a file, each computed by four threads together.

usage: numbers.py OUTPUT LINES

Every line depends on all lines before it, and nothing on time or on who ran when: two runs give the same file, byte
for byte, and a run that lost or repeated anything gives another one. It knows nothing of checkpoints.
"""
import hashlib
import queue
import random
import sys
import threading

THREADS = 4


def worker(number, questions, answers):
    """Answers with a digest of each question and of all that this thread has done so far."""
    state = hashlib.sha256(str(number).encode())
    dice = random.Random(number)
    while (question := questions.get()) is not None:
        total = 0.0
        for _ in range(20_000):
            total += dice.random() ** 0.5
        state.update(question + repr(total).encode())
        answers.put((number, state.hexdigest()))


def main():
    output, lines = sys.argv[1], int(sys.argv[2])
    answers = queue.Queue()
    questions = [queue.Queue() for _ in range(THREADS)]
    threads = [threading.Thread(target=worker, args=(i, questions[i], answers)) for i in range(THREADS)]
    for thread in threads:
        thread.start()

    digest = b""
    with open(output, "a", buffering=1) as file:
        for line in range(1, lines + 1):
            for each in questions:
                each.put(digest)
            parts = sorted(answers.get() for _ in range(THREADS))
            digest = hashlib.sha256(repr(parts).encode()).hexdigest().encode()
            file.write(f"line {line:4}  {digest[:32].decode()}\n")

    for each in questions:
        each.put(None)
    for thread in threads:
        thread.join()


main()
