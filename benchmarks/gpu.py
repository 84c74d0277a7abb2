"""`make bench-gpu`: one GPU, stack in host memory → products in host memory; every ratio within one run.

Prints and writes JSON: latency of one region and of twelve, against eager FP32, eager FP16 and torch.compile's default
on the same network; memory; flatness over 10,000 cycles; the floor. Runs with torch, cuda-python and numpy alone.
"""

import argparse
import json
import time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from engines import inductor
from engines.device import the_card
from engines.half import Half
from engines.order import Order
from engines.plan import Plan
from engines.process import EngineProcess, Limits
from engines.reference import build_model
from engines.shapes import input_shapes
from nowcast.models.spec import Inputs, pixel_sizes

SIDE, REGIONS = 512, 12


def random_inputs(spec, seed, side=SIDE):
    """Rain-like inputs: smooth, mostly dry, some unseen."""
    rng, shapes = np.random.default_rng(seed), input_shapes(spec, 1, side, side)
    coarse = rng.standard_normal((1, spec.frames, side // 16, side // 16)).astype("f4")
    stack = np.clip(np.kron(coarse, np.ones((16, 16), "f4")) * 0.3, 0, 1)
    mask = np.ones_like(stack)
    mask[..., : side // 8, : side // 8] = 0
    motion = (rng.standard_normal((1, 2, 1, 1)) * 3 + rng.standard_normal(shapes["motion"]) * 0.2).astype("f4")
    noise = rng.standard_normal(shapes["noise"], np.float32) if spec.noise else None
    pixel = pixel_sizes(1.0, side, side) if spec.pixel else None
    return Inputs(stack, mask, motion, noise, pixel)


def eager(model):
    """From numpy to numpy, as it is done without an engine."""

    def run(inputs):
        with torch.inference_mode():
            made = model(*(torch.from_numpy(v).cuda() for v in inputs.named().values()))
            return [m.cpu().numpy() for m in made]

    return run


def timed(run, cases, count, warm=3):
    """Milliseconds of each of `count` calls."""
    for i in range(warm):
        run(cases[i % len(cases)])
    taken = []
    for i in range(count):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run(cases[i % len(cases)])
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def told(taken):
    found = np.percentile(taken, [50, 99])
    return {"p50": round(float(found[0]), 3), "p99": round(float(found[1]), 3), "n": len(taken)}


def used():
    """Bytes of the device in use, by the driver."""
    free, everything = the_card().memory()
    return everything - free


def peak(run, cases):
    """Bytes that torch allocates at most while twelve regions are forecast one after another."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for case in cases:
        run(case)
    return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


def psnr(found, expected):
    error = float(np.mean((np.asarray(found, np.float64) - expected) ** 2))
    return 200.0 if error == 0 else -10 * np.log10(error)


def ceilings():
    """Measured bandwidth and matrix rate of this device."""
    a = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    host = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
    for _ in range(3):
        b.copy_(a), x @ x, host.copy_(a[: 2**28])
    events[0].record()
    b.copy_(a)
    events[1].record()
    x @ x
    events[2].record()
    host.copy_(a[: 2**28], non_blocking=True)
    events[3].record()
    torch.cuda.synchronize()
    rates = (2**31, 2 * 8192**3, 2**28)
    copy, matrix, link = (r / events[i].elapsed_time(events[i + 1]) * 1e3 for i, r in enumerate(rates))
    return {"copy_bytes_per_s": copy, "matrix_flop_per_s": matrix, "link_bytes_per_s": link}


def timeline(engine, rows=14):
    """Of one region on the device: milliseconds in all, in which kernels ran, copies ran, both; the slowest kernels."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CUDA]) as seen:
        engine.replay()
    ran = [(e.name, e.time_range.start, e.time_range.end) for e in seen.events() if e.device_type.name == "CUDA"]
    copied = [r for r in ran if r[0].startswith("Memcpy")]
    kernels = [r for r in ran if not r[0].startswith("Mem")]
    both = busy(kernels) + busy(copied) - busy(kernels + copied)
    told = {"all": max(r[2] for r in ran) - min(r[1] for r in ran)}
    told |= {"kernels": busy(kernels), "copies": busy(copied), "both": both}
    sums = {}
    for name, start, end in kernels:
        sums.setdefault(name[:90], []).append(end - start)
    slowest = sorted(((n, round(sum(t) / 1e3, 3), len(t)) for n, t in sums.items()), key=lambda k: -k[1])[:rows]
    return {n: round(v / 1e3, 3) for n, v in told.items()}, slowest


def busy(ran):
    """Microseconds in which at least one of (name, start, end) ran."""
    total, until = 0.0, -np.inf
    for _, start, end in sorted(ran, key=lambda r: r[1]):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


class Report(dict):
    """What was found, printed and written as it comes."""

    def __init__(self, path, **known):
        super().__init__(known)
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        print(name, json.dumps(value), flush=True)
        self._path.write_text(json.dumps(self, indent=1) + "\n")


def on_device(model, case, count=20):
    """Median milliseconds of the model alone, inputs and outputs on the device."""
    tensors = [torch.from_numpy(v).cuda() for v in case.named().values()]
    found = []
    with torch.inference_mode():
        for _ in range(count):
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            marks[0].record()
            model(*tensors)
            marks[1].record()
            torch.cuda.synchronize()
            found.append(marks[0].elapsed_time(marks[1]))
    return round(float(np.median(found)), 3)


def without_engine(report, make, spec, cases):
    """Measure eager FP32 and eager FP16; return the FP32 outputs."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = make(spec.name).cuda()
    full = eager(model)
    expected = full(cases[0])
    report["eager_fp32_ms"] = told(timed(full, cases, 20)) | {"on_device": on_device(model, cases[0])}
    report["eager_fp32_peak"] = peak(full, cases)
    batch = Inputs(*(np.concatenate(v) for v in zip(*(c.named().values() for c in cases), strict=True)))
    report["eager_fp32_batch_of_twelve_peak"] = peak(full, [batch])
    model = Half(make(spec.name).cuda()).eval()
    report["eager_fp16_ms"] = told(timed(eager(model), cases, 20)) | {"on_device": on_device(model, cases[0])}
    report["eager_fp16_peak"] = peak(eager(model), cases)
    return expected


def compiled_by_default(report, make, spec, cases):
    """Measure torch.compile's default, last: it compiles for minutes."""
    torch.cuda.empty_cache()
    start = time.perf_counter()
    model = Half(make(spec.name).cuda()).eval()
    model.compile(fullgraph=True, dynamic=False)
    eager(model)(cases[0])
    report["compile_default_first_s"] = round(time.perf_counter() - start, 1)
    report["compile_default_ms"] = told(timed(eager(model), cases, 50)) | {"on_device": on_device(model, cases[0])}


def flatness(engine, cycles):
    """Replay and look at the device's memory, as the driver sees it, every hundred cycles."""
    engine.replay()
    first, count = used(), torch.cuda.memory_stats()["allocation.all.allocated"]
    seen, start = set(), time.perf_counter()
    for cycle in range(cycles):
        engine.replay()
        if cycle % 100 == 0:
            seen.add(used())
    allocations = torch.cuda.memory_stats()["allocation.all.allocated"] - count
    took = round(1e3 * (time.perf_counter() - start) / cycles, 3)
    return {"cycles": cycles, "at_start": first, "seen": sorted(seen), "allocations": allocations, "ms_per_cycle": took}


def in_process(report, factory, plan, cases):
    """Measure the engine in a process of its own, as the worker has it, and how soon it is there.

    From nothing; and from an order to a process that stands by with its libraries imported, as the worker's does.
    """
    limits, order, soon = Limits(load=300, wait=300, call=10), Order(factory, plan, SIDE, SIDE), {}
    for name, seconds in (("process_not_started", None), ("process_stands_by", 12)):
        start = time.perf_counter()
        process = EngineProcess(factory)
        if seconds:
            time.sleep(seconds)
            start = time.perf_counter()
        engine = process.open(order, limits)
        engine(cases[0])
        soon[name] = round(time.perf_counter() - start, 2)
        if not seconds:
            process.close()
    report["plan_file_to_first_product_s"] = soon
    report["process_ms"] = told(timed(engine, cases, 200))
    report["process_twelve_ms"] = told(timed(lambda _: [engine(case) for case in cases], cases, 40))
    process.close()


def built(report, spec, folder, given):
    """Compile the plan of one shape, as `nowcast engine build` does, into `folder`; or take a given one."""
    start = time.perf_counter()
    data = given.read_bytes() if given else inductor.build(spec.name, [(SIDE, SIDE)])
    report["build_s"] = None if given else round(time.perf_counter() - start, 1)
    report["plan_bytes"] = len(data)
    (folder / "plan.bin").write_bytes(data)
    return Plan(folder, spec, sha256(data).hexdigest(), "", {}, "plan.bin")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="standard")
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--plan", type=Path, help="what engines.inductor.build gave for 512², instead of compiling it")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gpu.json"))
    arguments = parser.parse_args()
    factory = "engines.inductor:InductorEngine"
    spec = build_model(arguments.model).spec
    cases = [random_inputs(spec, seed) for seed in range(REGIONS)]
    known = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
    known |= {"model": spec.name, "members": spec.members, "leads": spec.leads, "shape": [SIDE, SIDE]}
    report = Report(arguments.output, **known)
    report["ceilings"] = ceilings()
    with TemporaryDirectory() as folder:
        plan = built(report, spec, Path(folder), arguments.plan)
        in_process(report, factory, plan, cases)
        expected = without_engine(report, build_model, spec, cases)
        torch.cuda.empty_cache()
        before = used()
        engine = inductor.InductorEngine(plan, SIDE, SIDE)
        found = engine(cases[0])
    report["engine_psnr_db"] = {n: round(psnr(found[n], e), 1) for n, e in zip(spec.outputs, expected, strict=True)}
    report["engine_ms"] = told(timed(engine, cases, 300))
    report["engine_twelve_ms"] = told(timed(lambda _: [engine(case) for case in cases], cases, 50))
    report["engine_memory"] = {"used": used() - before, "torch_reserved": torch.cuda.memory_reserved()}
    report["engine_device_ms"], report["kernels_ms"] = timeline(engine)
    report["times_faster_than"], report["times_faster_on_device"] = {}, {}
    compare(report, "eager_fp32_ms", "eager_fp16_ms")
    summarize(report, spec)
    if arguments.cycles:
        report["flatness"] = flatness(engine, arguments.cycles)
    compiled_by_default(report, build_model, spec, cases)
    compare(report, "compile_default_ms")


def compare(report, *others):
    """Ratios to what was measured without an engine, within this run."""
    ours, kernels = report["engine_ms"]["p50"], report["engine_device_ms"]["kernels"]
    report["times_faster_than"] |= {n: round(report[n]["p50"] / ours, 2) for n in others}
    report["times_faster_on_device"] |= {n: round(report[n]["on_device"] / kernels, 2) for n in others}


def summarize(report, spec):
    """Memory over that of eager, and how far the engine is from what the device allows."""
    memory = report["engine_memory"]["used"]
    peaks = ("eager_fp32_peak", "eager_fp32_batch_of_twelve_peak")
    report["memory_over"] = {n: round(memory / report[n]["allocated"], 3) for n in peaks}
    outputs = 4 * spec.leads * SIDE * SIDE * len(spec.outputs)
    moved = 2 * 2 * spec.leads * spec.members * SIDE * SIDE + outputs  # each member field once out and in, in FP16
    download = 1e3 * outputs / report["ceilings"]["link_bytes_per_s"]
    fields = 1e3 * moved / report["ceilings"]["copy_bytes_per_s"]
    report["floor_ms"] = {"download": round(download, 2), "kernels_if_member_fields_move_once": round(fields, 2)}


if __name__ == "__main__":
    main()
