"""From the PyTorch reference to a plan: the graph by the dynamo exporter, and the golden cases.

Batch, height and width stay dynamic, the latter two as multiples of 32: with sizes free, the exporter's algebra of
halved sizes gave up on `standard`; opset 18, because the GridSample of opset 20 is silently wrong in one runtime
(TensorRT#4646). Sampling grids must be FP32: `require_fp32_grids` asserts it on the graph. That what should be free is
free only a call of other sizes can tell: `require_free_sizes` makes one.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from torch import nn
from torch.export import Dim

from engines.golden import HEIGHT, WIDTH, Golden, make_cases, pack
from engines.half import Half
from engines.openvino import OpenVinoEngine
from engines.parity import compare, require_parity
from engines.plan import Plan, write_plan
from engines.reference import TorchEngine, build_model, spec_of
from engines.shapes import input_shapes
from nowcast.clock import wall
from nowcast.disk import make_folder
from nowcast.errors import EngineError
from nowcast.models.spec import MULTIPLE, Inputs, ModelSpec, Outputs

OPSET = 18
TRACED = 2
"""Batch of the trace."""


def export(model: str, folder: Path) -> Plan:
    """Export `model` in FP32, make its golden cases with the reference, and write both as a plan into `folder`.

    Raises
    ------
    EngineError
        When the exporter gives no graph, or one that may not serve; what was in the folder stays.
    """
    make_folder(folder)  # here, not only after a minute's work
    spec = spec_of(build_model(model))
    reference = TorchEngine(spec)
    cases, graph = list(make_cases(spec, reference)), export_graph(model)
    require_free_sizes(graph, spec, cases, reference)
    versions = {"torch": torch.__version__, "onnx": onnx.__version__, "opset": str(OPSET)}
    return write_plan(folder, spec, graph, pack(iter(cases)), versions)


def export_graph(model: str, precision: str = "fp32") -> bytes:
    """Return the ONNX graph of a model, `fp32` or `fp16`: inputs and outputs are FP32 in both.

    Raises
    ------
    EngineError
        When the exporter gives none, or one whose sampling grids are not FP32.
    """
    module = build_model(model)
    graph = _graph(Half(module).eval() if precision == "fp16" else module, spec_of(module))
    require_fp32_grids(graph)
    return graph


def _graph(module: nn.Module, spec: ModelSpec) -> bytes:
    shapes = input_shapes(spec, TRACED, HEIGHT, WIDTH)
    rng = np.random.default_rng(0)
    example = tuple(torch.from_numpy(rng.random(shape, np.float32)) for shape in shapes.values())
    batch, rows, columns = Dim("batch"), Dim("rows"), Dim("columns")
    dynamic = tuple(
        {0: batch, len(s) - 2: s[-2] * MULTIPLE // HEIGHT * rows, len(s) - 1: s[-1] * MULTIPLE // WIDTH * columns}
        for s in shapes.values()
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)  # each input has the same three sizes
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_shapes=dynamic,
            verbose=False,
        )
    if program is None:
        raise EngineError(f"the exporter gave no graph for {spec.name}; see its messages above")
    proto = program.model_proto
    for node in proto.graph.node:  # traces of this machine's paths have no place in an artefact
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    return proto.SerializeToString()


def require_free_sizes(
    graph: bytes, spec: ModelSpec, cases: Sequence[Golden], reference: Callable[[Inputs], Outputs]
) -> None:
    """Raise `EngineError` unless the graph is its model at another batch, height and width than it was traced with.

    A size that a model takes as a number (`len(tensor)`) is a constant of the graph: so the batch of every plan was
    once fixed, which loads and runs as long as nobody asks for another.
    """
    inputs = _larger(cases[-(TRACED + 1) :])
    batch, _, height, width = inputs.stack.shape
    asked = f"batch {batch} of {height}×{width}, traced with {TRACED} of {HEIGHT}×{WIDTH}"
    try:
        with TemporaryDirectory() as folder:
            plan = write_plan(Path(folder), spec, graph, b"", {})
            found = OpenVinoEngine(plan, height, width, batch)(inputs)
        expected = reference(inputs)
        if shapes := [f"{n} is {found[n].shape}" for n, values in expected.items() if found[n].shape != values.shape]:
            raise EngineError(", ".join(shapes))
        require_parity(compare(plan, Golden(asked, inputs, expected), found, wall()))
    except EngineError as error:
        raise EngineError(
            f"the graph of {spec.name} is not the model at {asked} ({error});"
            " let the model take sizes from `tensor.shape`, not from `len(tensor)`"
        ) from error


def _larger(cases: Sequence[Golden]) -> Inputs:
    """Return the inputs of some cases as one batch, each twice as high and wide."""
    named = [case.inputs.named() for case in cases]
    return Inputs(**{name: np.concatenate([np.tile(one[name], (2, 2)) for one in named]) for name in named[0]})


def require_fp32_grids(graph: bytes) -> None:
    """Raise `EngineError` unless both inputs of every GridSample are FP32."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
    known = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in known}
    types |= {constant.name: constant.data_type for constant in model.graph.initializer}
    samples = [node for node in model.graph.node if node.op_type == "GridSample"]
    wrong = [node.name for node in samples if any(types.get(name) != onnx.TensorProto.FLOAT for name in node.input)]
    if wrong or not samples:
        raise EngineError(f"GridSample must be FP32, these are not: {wrong or 'none found'}; keep coordinates in FP32")
