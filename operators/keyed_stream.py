"""A stream keyed in the JVM: Python is entered once per record, in the operator itself.

PyFlink's own `key_by` runs a hidden Python operator to compute each key; here the key is the
first column of a Table row, taken by PyFlink's Java `KeyByKeySelector`.
"""

from __future__ import annotations

from pyflink.common import TypeInformation
from pyflink.common.typeinfo import Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table


def stream_of(
    t_env: StreamTableEnvironment, table: Table, row: list[TypeInformation], uid: str
) -> DataStream:
    """Turn a table into a stream of rows, under a uid and name of its own.

    Flink generates uids for the other operators of a table, but not for this conversion.
    """
    rows = t_env.to_append_stream(table, Types.ROW(row))
    transformation = rows._j_data_stream.getTransformation()  # PyFlink has no setter for it
    transformation.setUid(uid)
    transformation.setName(uid)
    return rows


def keyed_in_jvm(
    t_env: StreamTableEnvironment, table: Table, payload: TypeInformation, uid: str
) -> KeyedStream:
    """Key a table of (key STRING, payload) by its first column, without entering Python.

    Args:
        t_env: the environment that made `table`.
        table: two columns: the key, never NULL, and one column of type `payload`.
        payload: the type that the function after it receives (PyFlink hands a keyed function
            field 1 of the row alone, so everything it needs is in there).
        uid: of the conversion from table to stream.

    Returns:
        A keyed stream; the function sees the payload, `ctx.get_current_key()` the key.
    """
    gateway = get_gateway()
    rows = stream_of(t_env, table, [Types.STRING(), payload], uid)
    key_type = Types.ROW([Types.STRING()])
    j_keyed = rows._j_data_stream.keyBy(  # no public way to key in the JVM
        gateway.jvm.KeyByKeySelector(), key_type.get_java_type_info()
    )
    return KeyedStream(j_keyed, payload, DataStream(rows._j_data_stream))  # likewise
