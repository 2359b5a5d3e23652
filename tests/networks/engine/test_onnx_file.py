"""Reading an ONNX file's signature without a library, and refusing what is not one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.engine import read_signature
from tests.networks.engine.graphs import affine, write


def test_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "empty.onnx"
    file.touch()
    with pytest.raises(NetworkDamaged, match=r"empty\.onnx is not a whole ONNX file"):
        read_signature(file)


@pytest.mark.parametrize("data", [b"hello, world\n" * 9, b"\x00" * 99, b"\xff" * 99, b"\x08\x09"])
def test_something_else(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "other.onnx"
    file.write_bytes(data)
    with pytest.raises(NetworkDamaged, match="not a whole ONNX file"):
        read_signature(file)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for file in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(NetworkError, match="cannot be opened"):
            read_signature(file)


def test_a_file_cut_anywhere(tmp_path: Path) -> None:
    """Also where a field ends, and the rest would pass for a whole file."""
    whole = affine(tmp_path / "whole.onnx").read_bytes()
    file = tmp_path / "cut.onnx"
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(NetworkDamaged):
            read_signature(file)


@given(data=st.binary(min_size=1, max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_ends_in_a_network_error_or_nothing_at_all(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "noise.onnx"
    file.write_bytes(data)
    with pytest.raises(NetworkError):
        read_signature(file)


def test_names_shapes_types_and_the_order_of_outputs(tmp_path: Path) -> None:
    signature = read_signature(affine(tmp_path / "a.onnx"))
    assert dict(signature.inputs) == {"x": (None, 3)}
    assert signature.dtypes["x"] == np.float32
    assert signature.outputs == ("tripled", "affine")
    assert read_signature(affine(tmp_path / "b.onnx", batch=4)).inputs["x"] == (4, 3)


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(affine(tmp_path / "a.onnx"))
    info = onnx.helper.make_tensor_value_info("factor", onnx.TensorProto.FLOAT, [1])
    model.graph.input.append(info)
    assert set(read_signature(write(model.graph, tmp_path / "b.onnx")).inputs) == {"x"}


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(affine(tmp_path / "a.onnx"))
    onnx.save(
        model,
        str(tmp_path / "b.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(NetworkDamaged, match="keeps weights in other files"):
        read_signature(tmp_path / "b.onnx")


def test_weights_hidden_in_a_node_are_refused_too(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model = onnx.load(affine(tmp_path / "a.onnx"))
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    file = tmp_path / "b.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(NetworkDamaged, match="keeps weights in other files"):
        read_signature(file)


def test_real_networks_read_as_onnx_runtime_reads_them(shared: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for file in sorted((shared / "weights").glob("*.onnx")):
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        signature = read_signature(file)
        assert dict(signature.inputs) == {i.name: tuple(i.shape) for i in session.get_inputs()}
        assert signature.outputs == tuple(o.name for o in session.get_outputs())
