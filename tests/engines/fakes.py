"""Runtimes that pass the gate and then go wrong, one way each. Built in engine processes by their dotted names."""

import ctypes
import os
import signal
import time

import numpy as np

from engines.extrapolation import ExtrapolationEngine
from engines.golden import HEIGHT, WIDTH
from nowcast.errors import DoesNotFit, EngineError


class Good(ExtrapolationEngine):
    """Does what it should."""

    runtime = "good"

    def __init__(self, plan, height, width, batch=1, threads=1):
        super().__init__(plan, height, width, batch, threads)
        self.spec, self.golden = plan.spec, (height, width) == (HEIGHT, WIDTH)

    def __call__(self, inputs):
        outputs = super().__call__(inputs)
        return outputs if self.golden else self.spoil(outputs)

    def spoil(self, outputs):
        return outputs


class Hangs(Good):
    def spoil(self, outputs):
        time.sleep(60)


class HangsHoldingTheInterpreter(Good):
    def spoil(self, outputs):
        ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the GIL: no Python code of the child runs any more


class Stopped(Good):
    def spoil(self, outputs):
        os.kill(os.getpid(), signal.SIGSTOP)
        return outputs


class Crashes(Good):
    def spoil(self, outputs):
        os.kill(os.getpid(), signal.SIGSEGV)


class IsKilled(Good):
    """As by the kernel, when the host's memory is full."""

    def spoil(self, outputs):
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Good):
    def spoil(self, outputs):
        os._exit(0)


class OutOfMemory(Good):
    def spoil(self, outputs):
        raise MemoryError("CUDA out of memory. Tried to allocate 22.50 GiB")


class StickyError(Good):
    def spoil(self, outputs):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class SaysNo(Good):
    def spoil(self, outputs):
        raise EngineError("execute_async_v3 returned False; restart the worker")


class GivesNan(Good):
    def spoil(self, outputs):
        outputs["rain_mean"][0, 3, 10, 10] = np.nan
        return outputs


class OutOfRange(Good):
    def spoil(self, outputs):
        outputs["rain_mean"][0, 3, 10, 10] = 7e4
        return outputs


class CrashesAtLoad(Good):
    def __init__(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGSEGV)


class HangsAtLoad(Good):
    def __init__(self, *args, **kwargs):
        time.sleep(60)


class SlowToLoad(Good):
    def __init__(self, *args, **kwargs):
        time.sleep(1.5)
        super().__init__(*args, **kwargs)


class TooLarge(Good):
    """Has no room for 128 by 128, which is found out late."""

    def __init__(self, plan, height, width, batch=1, threads=1):
        if (height, width) == (128, 128):
            time.sleep(0.5)
            raise DoesNotFit("engines need 3 GiB")
        super().__init__(plan, height, width, batch, threads)


class TooLargeFromTheStart(Good):
    """Has no room for the golden cases."""

    def __init__(self, *args, **kwargs):
        raise DoesNotFit("engines need 3 GiB")


class AllZero(Good):
    """A plan that fails the gate."""

    def __call__(self, inputs):
        return {name: np.zeros_like(values) for name, values in super().__call__(inputs).items()}
