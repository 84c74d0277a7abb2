"""What is not signed, current, unexpired, for this host and proven is refused, and the incumbent goes on serving."""

import base64
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engines import lifecycle, pace
from engines.keys import Keyring, PrivateKey, PublicKey, SharedKey, make_key, read_keyring, read_signer
from engines.ladder import Ladder
from engines.lifecycle import PromotedPlans, Recipe
from engines.manifest import Host, Manifest
from engines.plan import shipped_plan
from engines.planstore import Shelf
from engines.runtimes import BY_NAME, make_rungs
from nowcast.config import Settings
from nowcast.errors import ConfigError, EngineError, ParityFailed, PlanRefused
from nowcast.models.spec import Inputs

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLAN = shipped_plan("advection")
OLD, NEW, STRANGER = (PrivateKey(Ed25519PrivateKey.generate()) for _ in range(3))
GPU = Host("tensorrt", "11.4.0", "NVIDIA L4", "sm89", "580.10")


def graph(name):
    """The shipped graph, other bytes."""
    model = onnx.load_from_string(PLAN.graph())
    model.producer_name = name
    return model.SerializeToString()


class Host1:
    """A host with a shelf, its keys, and a ladder that serves from it."""

    def __init__(self, root, processes):
        self.root, self.keys, self.time = root / "plans", Keyring(OLD.public, NEW.public), NOW
        self.shelf = Shelf(self.root, "advection", "openvino", self.keys)
        rungs = make_rungs(PromotedPlans(self.root, self.keys, lambda: self.time))
        self.ladder = Ladder(rungs, threads=1, processes=processes)

    def build(self, key=OLD, change=lambda manifest: manifest, name=""):
        """Build and sign a version that differs by its number, without proving it: that is tested by itself."""
        version = self.shelf.next_version()
        data = graph(name or f"version {version}")
        files = {"plan.bin": data, "golden.npz": PLAN.golden(), "cache.bin": b"compiled kernels"}
        digests = {file: lifecycle._digest(content) for file, content in files.items()}
        here = lifecycle.host_of(BY_NAME["openvino"])
        manifest = Manifest(PLAN.spec, version, "fp32", here, digests, NOW, NOW + timedelta(days=30))
        self.shelf.add(change(manifest), files)
        self.shelf.sign(version, key)
        return version

    def accept(self, version):
        """Promote without the gate."""
        self.shelf.promote(self.shelf.verify(version, lifecycle.host_of(BY_NAME["openvino"]), NOW))

    def serves(self):
        """The version that serves."""
        served = self.ladder.serve("advection", 64, 64, lambda _: zeros(), self.time)
        digests = {self.shelf.manifest(v).files["plan.bin"]: v for v in reversed(self.shelf.versions())}
        return digests.get(served.plan, served.rung), served.passed_over


def zeros():
    return Inputs(*(np.zeros(s, "f4") for s in ((1, 4, 64, 64), (1, 4, 64, 64), (1, 2, 16, 16))))


@pytest.fixture
def host(tmp_path):
    made = Host1(tmp_path, processes=False)
    made.accept(made.build())
    yield made
    made.ladder.close()


@pytest.fixture
def host_with_processes(host):
    host.ladder = Ladder(host.ladder._rungs, threads=1, processes=True)
    yield host
    host.ladder.close()


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def tamper_with(file):
    return lambda host, version: flip(host.shelf.place(version) / file)


def forge(host, version):
    path = host.shelf.place(version) / "manifest.json"
    path.write_text(path.read_text().replace('"fp32"', '"fp16"'))


def rename_old_signature(host, version):
    shutil.copy(host.shelf.place(1) / "manifest.sig", host.shelf.place(version) / "manifest.sig")


def put_the_first_in_its_place(host, version):
    shutil.rmtree(host.shelf.place(version))
    shutil.copytree(host.shelf.place(1), host.shelf.place(version))


def no_change(host, version):
    pass


ATTACKS = {
    "tampered plan": ({}, tamper_with("plan.bin"), r"plan\.bin .*is not the signed"),
    "golden cases swapped": ({}, tamper_with("golden.npz"), r"golden\.npz .*is not the signed"),
    "cache blob flipped": ({}, tamper_with("cache.bin"), r"cache\.bin .*is not the signed"),
    "file removed": ({}, lambda h, v: (h.shelf.place(v) / "plan.bin").unlink(), "No such file"),
    "manifest changed": ({}, forge, "does not fit"),
    "signature of another": ({}, rename_old_signature, "does not fit"),
    "not signed": ({}, lambda h, v: (h.shelf.place(v) / "manifest.sig").unlink(), "not signed"),
    "old version in a new place": ({}, put_the_first_in_its_place, "version 1; put it"),
    "stranger's key": ({"key": STRANGER}, no_change, "not trusted"),
    "expired": ({"change": lambda m: replace(m, created=NOW - timedelta(2), expires=NOW)}, no_change, "expired"),
    "other GPU": ({"change": lambda m: replace(m, host=replace(m.host, gpu="NVIDIA L4"))}, no_change, "gpu NVIDIA L4"),
    "other runtime": ({"change": lambda m: replace(m, host=replace(m.host, version="1.2"))}, no_change, r"n 1\.2"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_the_incumbent_serves(host, name):
    how, attack, told = ATTACKS[name]
    version = host.build(**how)
    attack(host, version)
    with pytest.raises(PlanRefused, match=told):
        lifecycle.promote(host.shelf, version, NOW)
    assert host.serves() == (1, {})


def test_versions_never_go_back(host):
    host.accept(host.build())
    with pytest.raises(PlanRefused, match="not above 2"):
        lifecycle.promote(host.shelf, 1, NOW)
    host.shelf.rollback()
    with pytest.raises(PlanRefused, match="not above 2"):
        lifecycle.promote(host.shelf, 2, NOW)
    assert host.serves() == (1, {})


def test_a_signed_but_older_plan_in_the_place_of_the_current_one_is_refused(host):
    host.accept(host.build())
    host.build()
    host.shelf.sign(3, OLD)
    state = host.shelf.state()
    host.shelf._put(replace(state, current=replace(state.current, version=3)))  # all but the digest
    number, passed_over = host.serves()
    assert number == 1
    assert "not the one that was promoted" in passed_over["openvino"]


def test_a_plan_swapped_after_it_was_verified_is_not_loaded(host_with_processes):
    host = host_with_processes
    host.accept(host.build())
    assert len(host.ladder._rungs("advection")) == 4  # verified here; loaded by the engine process, later
    (host.shelf.place(2) / "plan.bin").write_bytes(graph("evil twin"))
    number, passed_over = host.serves()
    assert number == 1
    assert "is not the plan's" in passed_over["openvino"]


@pytest.mark.parametrize(("runtime", "told"), [("CrashesAtLoad", "SIGSEGV"), ("AllZero", "differs")])
def test_a_bad_plan_is_found_out_in_a_child(host, monkeypatch, runtime, told):
    version = host.build()
    assert host.serves()[0] == 1
    bad = replace(BY_NAME["openvino"], factory=f"tests.engines.fakes:{runtime}")
    monkeypatch.setitem(lifecycle.BY_NAME, "openvino", bad)
    with pytest.raises(EngineError, match=told):
        lifecycle.promote(host.shelf, version, NOW)
    monkeypatch.undo()
    assert host.serves() == (1, {})


def test_an_expired_plan_is_not_loaded_anew_but_goes_on_serving(host):
    assert host.serves()[0] == 1
    host.time = NOW + timedelta(days=31)
    assert host.serves()[0] == 1
    anew = PromotedPlans(host.root, host.keys, lambda: host.time)
    assert "expired" in next(anew("advection")).refused


def test_a_driver_that_is_accepted_serves_without_a_restart(host, monkeypatch):
    monkeypatch.setattr(
        lifecycle, "host_of", lambda _, of=lifecycle.host_of: replace(of(BY_NAME["openvino"]), driver="590.01")
    )
    assert "engine verify" in host.serves()[1]["openvino"]
    lifecycle.verify(host.shelf, 1, NOW)
    host.time += lifecycle.REFUSED_FOR
    assert host.serves() == (1, {})


def test_a_plan_that_is_signed_again_serves_without_a_restart(host):
    signature = host.shelf.place(1) / "manifest.sig"
    signature.unlink()
    assert "not signed" in host.serves()[1]["openvino"]
    host.shelf.sign(1, NEW)
    host.time += lifecycle.REFUSED_FOR
    assert host.serves() == (1, {})


def test_files_are_verified_once_and_a_refused_plan_once_a_minute(host, monkeypatch):
    verified, verify = [], Shelf.verify
    monkeypatch.setattr(Shelf, "verify", lambda shelf, *about: verified.append(about[0]) or verify(shelf, *about))
    for _ in range(5):
        host.serves()
        host.time += lifecycle.REFUSED_FOR
    assert verified == [1]
    version = host.build()
    host.accept(version)
    flip(host.shelf.place(version) / "plan.bin")
    verified.clear()
    for _ in range(4):
        assert host.serves()[0] == 1
        host.time += lifecycle.REFUSED_FOR / 2
    assert verified.count(version) == 2


def test_rollback_serves_the_previous_plan(host):
    host.accept(host.build())
    assert host.serves()[0] == 2
    assert lifecycle.rollback(host.shelf, NOW).manifest.version == 1
    assert host.serves()[0] == 1
    with pytest.raises(PlanRefused, match="no previous"):
        lifecycle.rollback(host.shelf, NOW)


def test_keys_rotate_with_an_overlap(host):
    version = host.build(key=NEW)
    host.accept(version)
    retired = Keyring(OLD.public, NEW.public, revoked=frozenset({OLD.public.id}))
    shelf = Shelf(host.root, "advection", "openvino", retired)
    with pytest.raises(PlanRefused, match="revoked"):
        shelf.verify(1, lifecycle.host_of(BY_NAME["openvino"]), NOW)
    shelf.sign(1, NEW)
    assert shelf.verify(1, lifecycle.host_of(BY_NAME["openvino"]), NOW).manifest.version == 1


def test_another_driver_needs_the_gate_again():
    manifest = Manifest(PLAN.spec, 1, "fp16", GPU, {}, NOW, NOW + timedelta(1))
    manifest.require_host(GPU)
    newer = replace(GPU, driver="590.01")
    with pytest.raises(PlanRefused, match="engine verify"):
        manifest.require_host(newer)
    manifest.require_host(newer, frozenset({"590.01"}))
    with pytest.raises(PlanRefused, match="sm"):
        manifest.require_host(replace(newer, sm="sm90"), frozenset({"590.01"}))


def test_verify_proves_under_this_driver_and_notes_it(host):
    lifecycle.verify(host.shelf, 1, NOW)
    assert list(host.shelf.state().drivers.values()) == [[""]]


def test_an_ed25519_signature_is_no_hmac_and_the_reverse():
    secret = SharedKey(b"s" * 32)
    signature = secret.sign(b"manifest")
    Keyring(secret).verify(b"manifest", signature)
    for change in (replace(signature, value=b""), replace(signature, value=OLD.sign(b"manifest").value)):
        with pytest.raises(PlanRefused, match="does not fit"):
            Keyring(secret).verify(b"manifest", change)
    with pytest.raises(PlanRefused, match="does not fit"):
        Keyring(OLD.public).verify(b"manifest", replace(signature, key=OLD.public.id))
    public = OLD.public.key.public_bytes_raw()
    forged = SharedKey(public).sign(b"manifest")  # the public key taken for a shared one
    with pytest.raises(PlanRefused):
        Keyring(OLD.public).verify(b"manifest", replace(forged, key=OLD.public.id))
    with pytest.raises(ConfigError, match="32"):
        SharedKey(b"short")


def test_keys_come_from_files_and_from_the_environment(tmp_path):
    public = make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    settings = Settings(plan_keys=f"{tmp_path / 'key.pub'}", plan_signing_key=str(tmp_path / "key"))
    read_keyring(settings).verify(b"x", read_signer(settings).sign(b"x"))
    revoked = Settings(plan_keys=settings.plan_keys, plan_revoked=public.id)
    with pytest.raises(PlanRefused, match="revoked"):
        read_keyring(revoked).verify(b"x", read_signer(settings).sign(b"x"))
    for wrong in ({"plan_keys": "not a key"}, {"plan_keys": "c2hvcnQ="}):
        with pytest.raises(ConfigError):
            read_keyring(Settings(**wrong))
    with pytest.raises(ConfigError, match="no signing key"):
        read_signer(Settings())
    secret = 300 * "k"  # longer than any path may be
    read_signer(Settings(plan_hmac_key=base64.b64encode(secret.encode()).decode()))
    with pytest.raises(ConfigError, match="NOWCAST_PLAN_HMAC_KEY is neither") as told:
        read_signer(Settings(plan_hmac_key=f"{secret}!"))
    assert secret not in str(told.value)
    assert "key" not in repr(Settings(plan_hmac_key="c2VjcmV0")).split("plan_hmac_key=")[1].split()[0]


def test_build_proves_what_it_built(tmp_path):
    shelf = Shelf(tmp_path, "advection", "openvino", Keyring())
    manifest, missing = lifecycle.build(shelf, Recipe("advection", "openvino"), NOW)
    assert not missing
    assert min(manifest.scores.values()) > 60
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    (shelf.folder / "v0001.old").mkdir()
    assert shelf.versions() == [1]


def test_a_graph_that_fails_the_gate_is_not_put_on_the_shelf(tmp_path):
    model = onnx.load_from_string(PLAN.graph())
    for weight in model.graph.node:
        if weight.op_type == "Clip" and weight.output[0]:
            weight.input[0] = weight.input[1]
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(model.SerializeToString())
    shelf = Shelf(tmp_path, "advection", "openvino", Keyring())
    with pytest.raises((ParityFailed, EngineError)):
        lifecycle.build(shelf, Recipe("advection", "openvino", graph=wrong), NOW)
    assert shelf.versions() == []


def test_what_is_no_manifest_is_refused():
    good = json.loads(Manifest(PLAN.spec, 1, "fp32", GPU, {}, NOW, NOW + timedelta(1)).to_bytes())
    for change in ({"format": 2}, {"version": 0}, {"files": {"../x": ""}}, {"expires": "soon"}, {"host": {}}):
        with pytest.raises(PlanRefused):
            Manifest.from_bytes(json.dumps(good | change).encode())
    assert isinstance(OLD.public, PublicKey)


def int8(host):
    return host.build(change=lambda manifest: replace(manifest, precision="int8"))


def test_int8_that_is_no_faster_does_not_serve(host, monkeypatch):
    run = pace._seconds
    monkeypatch.setattr(pace, "_seconds", lambda engine, inputs: run(engine, inputs) * 0 + 1.0)
    with pytest.raises(PlanRefused, match=r"in int8 takes .* keep what serves"):
        lifecycle.promote(host.shelf, int8(host), NOW)
    assert host.serves()[0] == 1


def test_int8_that_is_faster_serves_and_is_timed_against_the_exact_plan(host, monkeypatch):
    timed = []
    monkeypatch.setattr(lifecycle, "require_faster", lambda plan, than, _: timed.append((plan.digest, than.digest)))
    versions = [1, int8(host), host.build(), int8(host), int8(host), int8(host)]
    for version in versions[1:]:
        lifecycle.promote(host.shelf, version, NOW)
    plans = [host.shelf.manifest(version).files["plan.bin"] for version in versions]
    than = [plans[0], plans[2], plans[2], PLAN.digest]  # on a shelf of int8 alone: what ships
    assert timed == list(zip(plans[1:2] + plans[3:], than, strict=True))
    assert host.serves()[0] == versions[-1]


def test_faster_is_measured_in_turn(monkeypatch):
    count, openvino = pace.ROUNDS - 1, BY_NAME["openvino"]
    seconds = iter([9.0, 0.1] + [1.0, 1.2] * count + [1.0, 1.0] + [1.0, 1.2] * (count - 1) + [1.2, 1.0])
    monkeypatch.setattr(pace, "_seconds", lambda *_: next(seconds))
    assert pace.require_faster(PLAN, PLAN, openvino) == pytest.approx(1.2)
    with pytest.raises(PlanRefused):  # once it was slower
        pace.require_faster(PLAN, PLAN, openvino)


def test_int8_needs_something_to_be_held_against(tmp_path):
    with pytest.raises(PlanRefused, match="promote that first"):
        lifecycle._exact(Shelf(tmp_path, "advection", "tensorrt", Keyring()), NOW)
