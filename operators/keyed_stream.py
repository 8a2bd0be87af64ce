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


def keyed_in_jvm(
    t_env: StreamTableEnvironment, table: Table, payload: TypeInformation
) -> KeyedStream:
    """Key a table of (key STRING, payload) by its first column, without entering Python.

    Args:
        t_env: the environment that made `table`.
        table: two columns: the key, never NULL, and one column of type `payload`.
        payload: the type that the function after it receives (PyFlink hands a keyed function
            field 1 of the row alone, so everything it needs is in there).

    Returns:
        A keyed stream; the function sees the payload, `ctx.get_current_key()` the key.
    """
    gateway = get_gateway()
    rows = t_env.to_append_stream(table, Types.ROW([Types.STRING(), payload]))
    key_type = Types.ROW([Types.STRING()])
    j_keyed = rows._j_data_stream.keyBy(  # no public way to key in the JVM
        gateway.jvm.KeyByKeySelector(), key_type.get_java_type_info()
    )
    return KeyedStream(j_keyed, payload, DataStream(rows._j_data_stream))  # likewise
