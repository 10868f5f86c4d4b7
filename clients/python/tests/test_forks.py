"""The clients that a process shares: a fork while another thread makes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from world import PATIENCE

import apnsd

PYAPNS = """
import apnsd.pyapns as module
module.configure({"HOST": "http://127.0.0.1:1/"})
client = module._client
"""
DJANGO = """
import django.conf
django.conf.settings.configure(APNSD={"URL": "http://127.0.0.1:1/"})
import apnsd.django.conf as module
client = module.client
"""
CELERY = """
import celery, apnsd.celery as module
app = celery.Celery(set_as_current=False)
app.conf.apnsd_url = "http://127.0.0.1:1/"
def client():
    return module.client_of(app)
"""
FORK = """
import os, signal, threading
real, is_making, go_on = module.Client, threading.Event(), threading.Event()
def slow(*arguments, **named):
    is_making.set()
    go_on.wait()
    return real(*arguments, **named)
module.Client = slow
made = []
thread = threading.Thread(target=lambda: made.append(client()))
thread.start()
is_making.wait()
module.Client = real
child = os.fork()
if child == 0:
    signal.alarm(5)
    client()
    os._exit(0)
print(os.waitpid(child, 0)[1])
first = client()
go_on.set()
thread.join()
print(made[0] is first is client())
"""


@pytest.mark.parametrize("kind", [PYAPNS, DJANGO, CELERY], ids=["pyapns", "django", "celery"])
def test_a_fork_while_a_thread_makes_the_client_waits_for_nobody_and_all_threads_share_one(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", kind + FORK],
        env={"PYTHONPATH": str(Path(apnsd.__file__).resolve().parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (0, "0\nTrue\n")
