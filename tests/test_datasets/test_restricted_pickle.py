from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest
from forged_pickles import ForgedArray, ForgedDType

from rdarts.datasets import load_pickle
from rdarts.errors import UserError


class RunsCode:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def python2(value):
    """Pickle as Python 2 does: 8-bit strings, numpy.core.multiarray."""
    if isinstance(value, bytes):
        return b'T' + struct.pack('<i', len(value)) + value
    if isinstance(value, int):
        return b'J' + struct.pack('<i', value)
    if isinstance(value, list):
        return b'](' + b''.join(map(python2, value)) + b'e'
    if isinstance(value, dict):
        return b'}(' + b''.join(python2(k) + python2(v) for k, v in value.items()) + b'u'
    return b''.join(
        [
            b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t',
            python2(b'b'),
            b'tR(K\x01(',
            *map(python2, value.shape),
            b't',
            b'cnumpy\ndtype\n(',
            python2(b'u1'),
            b'K\x00K\x01tR(K\x03',
            python2(b'|'),
            b'NNN',
            python2(-1),
            python2(-1),
            b'K\x00tbI00\n',
            python2(value.tobytes()),
            b'tb',
        ]
    )


def one_line(error):
    return '\n' not in str(error.value)


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize('bytes_keys', [False, True])
def test_reads_a_batch_of_python_3(tmp_path, protocol, bytes_keys):
    data = np.arange(256, dtype=np.uint8).reshape(4, 64)
    batch = {'data': data, 'labels': [1, 2, 3, 4], 'size': np.int64(7)}
    if bytes_keys:
        batch = {key.encode(): value for key, value in batch.items()}
    (tmp_path / 'batch').write_bytes(pickle.dumps(batch, protocol=protocol))
    read = load_pickle(tmp_path / 'batch')
    assert list(read) == ['data', 'labels', 'size']
    assert read['data'].dtype == np.uint8
    np.testing.assert_array_equal(read['data'], data)
    assert read['labels'] == [1, 2, 3, 4]
    assert read['size'] == 7


def test_reads_a_batch_of_python_2(tmp_path):
    data = np.arange(200, 256, dtype=np.uint8).reshape(7, 8)
    content = b'\x80\x02' + python2({b'data': data, b'labels': [3, 5], b'name': b'\xe9'}) + b'.'
    (tmp_path / 'batch').write_bytes(content)
    read = load_pickle(tmp_path / 'batch')
    np.testing.assert_array_equal(read['data'], data)
    assert read['labels'] == [3, 5]
    assert read['name'] == 'é'


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_code_is_refused_and_not_run(tmp_path, protocol):
    target = tmp_path / 'made'
    (tmp_path / 'batch').write_bytes(pickle.dumps({'data': RunsCode(target)}, protocol=protocol))
    with pytest.raises(
        UserError, match=rf"batch: refused: .*'{os.mkdir.__module__}.mkdir'"
    ) as error:
        load_pickle(tmp_path / 'batch')
    assert one_line(error)
    assert not target.exists()
    pickle.loads((tmp_path / 'batch').read_bytes())
    assert target.exists()  # so the pickle is one that does run


@pytest.mark.parametrize(
    ('content', 'refused'),
    [
        (b'cbuiltins\neval\n(V1+1\ntR.', 'builtins.eval'),
        (b'cnumpy\nload\n(Vx\ntR.', 'numpy.load'),
        (b'\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.', 'numpy.ndarray.dump'),
        (b'c_codecs\nencode\n(Vabc\nVrot13\ntR.', '_codecs.encode'),
        (b'ccopyreg\n_reconstructor\n.', 'copyreg._reconstructor'),
    ],
)
def test_what_no_batch_holds_is_refused(tmp_path, content, refused):
    (tmp_path / 'batch').write_bytes(content)
    with pytest.raises(UserError, match='refused') as error:
        load_pickle(tmp_path / 'batch')
    assert refused in str(error.value)
    assert one_line(error)


@pytest.mark.parametrize('kept', [0, 1, 0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off(tmp_path, kept):
    whole = pickle.dumps({'data': np.zeros((9, 9), np.uint8), 'labels': [0] * 9}, protocol=2)
    length = kept if isinstance(kept, int) else int(kept * len(whole))
    (tmp_path / 'batch').write_bytes(whole[:length])
    with pytest.raises(UserError, match='batch: cut off') as error:
        load_pickle(tmp_path / 'batch')
    assert one_line(error)


def test_a_file_that_is_no_pickle_or_missing(tmp_path):
    (tmp_path / 'batch').write_bytes(b'PK\x03\x04 this is something else')
    with pytest.raises(UserError, match='not a pickled batch'):
        load_pickle(tmp_path / 'batch')
    with pytest.raises(UserError, match='absent: cannot be read: No such file'):
        load_pickle(tmp_path / 'absent')


def test_an_array_that_would_be_too_large_for_memory_is_refused(tmp_path):
    content = (
        b'\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(\x8a\x07'
        + (10**15).to_bytes(7, 'little')
        + b't'
        + python2(b'b')
        + b'tR.'
    )
    (tmp_path / 'batch').write_bytes(content)
    with pytest.raises(UserError, match='batch: refused: the pickle asks for numpy.ndarray that'):
        load_pickle(tmp_path / 'batch')


FORGED = {
    'object': ('O8', (3, '|', None, None, None, -1, -1, 63)),
    'bytes that hide an object': (
        'V8',
        (3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 8, 63),
    ),
    'numbers with fields': ('u1', (3, '|', None, ('a',), {'a': (np.dtype('u1'), 0)}, 1, 1, 0)),
    'numbers with a subarray': ('u1', (3, '|', (np.dtype('u1'), (9,)), None, None, 9, 1, 0)),
    'another size': ('u1', (3, '|', None, None, None, 10**9, 1, 0)),
    'flags of objects': ('u1', (3, '|', None, None, None, -1, -1, 63)),
    'a state that is no tuple': ('u1', 3),
    'a short state': ('u1', (3,)),
    'metadata': ('u1', (4, '|', None, None, None, -1, -1, 0, {'a': 1})),
    'text': ('U4', (3, '<', None, None, None, 16, 4, 8)),
    'dates': ('M8', (4, '<', None, None, None, -1, -1, 0, (b'ns', 1, 1, 1))),
}


@pytest.mark.parametrize('what', FORGED)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_dtype_that_hides_something_is_refused(tmp_path, what, protocol):
    batch = {'data': ForgedArray(ForgedDType(*FORGED[what])), 'labels': [0]}
    (tmp_path / 'batch').write_bytes(pickle.dumps(batch, protocol=protocol))
    with pytest.raises(UserError, match='batch: (refused: .*numpy|cut off)') as error:
        load_pickle(tmp_path / 'batch')
    assert one_line(error)


@pytest.mark.parametrize(
    'forged',
    [
        ForgedArray(np.dtype('u1'), shape=(9,)),
        ForgedArray(np.dtype('u1'), shape=(-8,)),
        ForgedArray(np.dtype('u1'), shape=8),
        ForgedArray(np.dtype('u1'), data=['x']),
        ForgedArray('u1'),
        ForgedArray(np.dtype('u1'), start=(8,)),
        ForgedArray(np.dtype('u1'), start=5),
        ForgedDType(['u1'], None),
        ForgedDType(3, None),
    ],
)
def test_an_array_whose_state_does_not_fit_is_refused(tmp_path, forged):
    (tmp_path / 'batch').write_bytes(pickle.dumps({'data': forged}, protocol=2))
    with pytest.raises(UserError, match='batch: (refused|cut off)') as error:
        load_pickle(tmp_path / 'batch')
    assert one_line(error)


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('code', ['u1', 'i8', '>i4', '<f4', 'f8', 'f2', '?'])
def test_arrays_of_plain_numbers_come_back_as_they_were(tmp_path, protocol, code):
    arrays = [np.arange(12).reshape(3, 4).astype(code), np.arange(6).reshape(2, 3).T.astype(code)]
    values = {'a': (arrays[0], [arrays[1]]), 'same': arrays[0], 'scalar': arrays[0][1, 2]}
    (tmp_path / 'batch').write_bytes(pickle.dumps(values, protocol=protocol))
    read = load_pickle(tmp_path / 'batch')
    for array, back in zip(arrays, (read['a'][0], read['a'][1][0]), strict=True):
        assert type(back) is np.ndarray and back.dtype == array.dtype
        assert back.flags.writeable
        np.testing.assert_array_equal(back, array)
    assert read['same'] is read['a'][0]
    assert read['scalar'] == arrays[0][1, 2] and read['scalar'].dtype.kind == arrays[0].dtype.kind
