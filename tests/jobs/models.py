"""Models for tests of their life: the advection plan, and what becomes of it when someone spoils it."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from engines.golden import HEIGHT, WIDTH, Golden, pack, unpack
from engines.openvino import OpenVinoEngine
from engines.plan import shipped_plan, write_plan


def spoiled_plan(folder, rain=1.0, motion=1.0):
    """Advection with its rain (in model space) and its motion multiplied; it passes the gate of its own cases."""
    plan = shipped_plan("advection")
    model = onnx.load_from_string(plan.graph())
    for node in model.graph.node:
        node.input[:] = ["motion_taken" if name == "motion" else name for name in node.input]
        node.output[:] = ["rain_right" if name == "rain_mean" else name for name in node.output]
    for name, factor in (("rain_factor", rain), ("motion_factor", motion)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(factor), name))
    model.graph.node.insert(0, helper.make_node("Mul", ["motion", "motion_factor"], ["motion_taken"]))
    model.graph.node.append(helper.make_node("Mul", ["rain_right", "rain_factor"], ["rain_mean"]))
    graph = model.SerializeToString()
    draft = write_plan(folder / "draft", plan.spec, graph, plan.golden(), plan.versions)
    engine = OpenVinoEngine(draft, HEIGHT, WIDTH)
    cases = [Golden(case.name, case.inputs, _made(engine, case)) for case in unpack(plan.golden())]
    engine.close()
    return write_plan(folder / "plan", plan.spec, graph, pack(iter(cases)), plan.versions)


def _made(engine, case):
    return {name: np.clip(values, 0, 1) for name, values in engine(case.inputs).items()}
