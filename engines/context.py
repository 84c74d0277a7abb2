"""A TensorRT plan bound to memory: one context and one captured graph for one shape, scratch from the card's arena.

Executed so far on no machine of ours but for the refusal of bad plans by the lean runtime (docs/runtimes.md): the call
order is held by a recording stand-in in the tests, the numbers by the parity gate where a plan is promoted.
"""

from functools import partial
from types import ModuleType

from cuda.core import Buffer

from engines.device import Resident, the_card
from engines.plan import Plan
from engines.shapes import input_shapes
from engines.shared import Shared
from engines.tensorrt import FLAVOURS, Handle, logger_of
from nowcast.errors import EngineError, PlanRefused
from nowcast.models.spec import Inputs, Outputs


class TensorRtEngine:
    """A plan on one of the flavours; see `engines.protocol.Engine` and `Replays`."""

    def __init__(self, flavour: str, plan: Plan, height: int, width: int, batch: int = 1, threads: int = 2) -> None:
        self.spec, self.runtime = plan.spec, flavour
        self._card = the_card()  # first: a runtime without a driver takes the process with it
        trt = FLAVOURS[flavour].load()
        self.versions = {flavour: str(trt.__version__)}
        self._logger = logger_of(trt)
        self._runtime = trt.Runtime(self._logger)
        self._plan = plan_of(self._runtime, self._logger, plan)
        self._context = self._plan.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        shapes = input_shapes(plan.spec, batch, height, width)
        scratch = self._sized(trt, shapes)
        shape = (plan.spec, batch, height, width)
        self._need = Resident.need(f"{plan.spec.name} {batch}×{height}×{width}", *shape, scratch, len(plan.graph()))
        self._card.reserve(self._need)
        self._memory = Resident(self._card, *shape)
        self._memory.own_outputs()
        self._scratch: Buffer = self._card.scratch(max(scratch, 256))
        self._bind_addresses()
        self._graph = self._captured()

    def _sized(self, trt: ModuleType, shapes: dict[str, tuple[int, ...]]) -> int:
        """Choose the profile that holds the shapes, set them, and return the bytes of scratch that they need."""
        stream = int(self._card.stream.handle)
        for profile in range(self._plan.num_optimization_profiles):
            if not _holds(self._plan, profile, shapes):
                continue
            self._require(self._context.set_optimization_profile_async(profile, stream), f"profile {profile}")
            for name, shape in shapes.items():
                self._require(self._context.set_input_shape(name, shape), f"shape {shape} of {name}")
            missing = self._context.infer_shapes()
            self._require(not missing, f"inputs without shape: {missing}")
            return int(self._context.update_device_memory_size_for_shapes())
        raise EngineError(f"no profile of the plan holds {shapes}; build it for this region (`nowcast engine build`)")

    def _bind_addresses(self) -> None:
        self._context.set_device_memory(int(self._scratch.handle), self._scratch.size)
        for name, slot in {**self._memory.inputs, **self._memory.outputs}.items():
            self._require(self._context.set_tensor_address(name, slot.address), f"address of {name}")

    def _captured(self) -> Handle:
        """Run once, which is mandatory before a capture, then record the same."""
        self._execute(self._card.stream)
        self._card.stream.sync()
        builder = self._card.stream.create_graph_builder()
        builder.begin_building("thread_local")
        try:
            self._execute(builder.stream)
        finally:
            builder.end_building()
        graph = builder.complete()
        graph.upload(self._card.stream)
        return graph

    def _execute(self, stream: Handle) -> None:
        if not self._context.execute_async_v3(int(stream.handle)):  # False with stale outputs: pytorch/TensorRT#4481
            raise RuntimeError(f"execute_async_v3 failed: {'; '.join(self._logger.told[-3:])}")

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(
                f"{self.runtime} refuses {what} ({'; '.join(self._logger.told[-3:])}); build the plan again"
            )

    def bind(self, shared: Shared) -> None:
        """See `engines.protocol.Replays`."""
        self._memory.bind(shared)

    def replay(self) -> None:
        """See `engines.protocol.Replays`."""
        self._memory.upload()
        self._graph.launch(self._card.stream)
        self._memory.download()
        self._card.stream.sync()

    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        self._memory.host.fill(inputs)
        self.replay()
        return dict(self._memory.host.outputs)

    def close(self) -> None:
        """Give its memory back; the scratch stays with the card."""
        self._graph.close()
        self._memory.close()
        self._card.release(self._need)


def plan_of(runtime: Handle, logger: Handle, plan: Plan) -> Handle:
    """Deserialize the verified bytes of a plan, or raise `PlanRefused` with what the library said."""
    found = runtime.deserialize_cuda_engine(plan.graph())
    if found is None:
        raise PlanRefused(f"{plan.folder}: {'; '.join(logger.told[-3:]) or 'refused'}; build the plan on this machine")
    return found


def _holds(plan: Handle, profile: int, shapes: dict[str, tuple[int, ...]]) -> bool:
    for name, shape in shapes.items():
        least, _, most = plan.get_tensor_profile_shape(name, profile)
        if not all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True)):
            return False
    return True


tensorrt = partial(TensorRtEngine, "tensorrt")
tensorrt_lean = partial(TensorRtEngine, "tensorrt_lean")
tensorrt_rtx = partial(TensorRtEngine, "tensorrt_rtx")
