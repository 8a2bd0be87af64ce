"""A stream keyed in the JVM: Python is entered once per record, in the operator itself.

PyFlink's own `key_by` runs a hidden Python operator to compute each key; here the key is the
first column of a Table row, taken by PyFlink's Java `KeyByKeySelector`.
"""

from __future__ import annotations

from pyflink.common import TypeInformation
from pyflink.common.typeinfo import Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table


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
    rows = stream_of(t_env, table, [Types.STRING(), payload], uid)
    return keyed_by_first(rows, payload)


def keyed_by_first(rows: DataStream, payload: TypeInformation) -> KeyedStream:
    """As `keyed_in_jvm`, of rows (key STRING, payload) that are a stream already."""
    key_type = Types.ROW([Types.STRING()])
    j_keyed = rows._j_data_stream.keyBy(  # no public way to key in the JVM
        get_gateway().jvm.KeyByKeySelector(), key_type.get_java_type_info()
    )
    return KeyedStream(j_keyed, payload, DataStream(rows._j_data_stream))  # likewise


def raw_bytes() -> TypeInformation:
    """An array of primitive bytes: it crosses into Python as `bytes`, untouched."""
    return Types.PRIMITIVE_ARRAY(Types.BYTE())


def arrived_row() -> TypeInformation:
    """A record's value, topic, partition, offset and broker time (ms since the epoch)."""
    return Types.ROW([raw_bytes(), Types.STRING(), Types.INT(), Types.LONG(), Types.LONG()])


def arrived_by(field: str, table: str) -> str:
    """SQL of a table's records as `keyed_in_jvm` wants them: a key, and `arrived_row`.

    Args:
        field: of the payload, whose value is the key. A payload without one, or that is no JSON,
            is spread by its place.
        table: made by `kafka_tables.source_ddl`.
    """
    return f"""
SELECT
  COALESCE(
    JSON_VALUE(CAST(v AS STRING), '$.{field}' NULL ON EMPTY NULL ON ERROR),
    CONCAT(`topic`, '-', CAST(`partition` AS STRING), '-', CAST(`offset` AS STRING))
  ),
  ROW(
    v, `topic`, `partition`, `offset`,
    EXTRACT(EPOCH FROM ts) * 1000 + MOD(EXTRACT(MILLISECOND FROM ts), 1000)
  )
FROM {table}
"""  # noqa: S608 - names of ours


def routed_row() -> TypeInformation:
    """Topic, key and value of a record to be written."""
    return Types.ROW_NAMED(["topic", "k", "v"], [Types.STRING(), raw_bytes(), raw_bytes()])


def write_routed(t_env: StreamTableEnvironment, records: DataStream, view: str, sink: str) -> None:
    """Write each record to the topic that it names.

    Args:
        t_env: the environment.
        records: rows of `routed_row`.
        view: name for them as a table.
        sink: a table made by `kafka_tables.sink_ddl`.
    """
    schema = (
        Schema.new_builder()
        .column("topic", DataTypes.STRING().not_null())
        .column("k", DataTypes.BYTES())
        .column("v", DataTypes.BYTES())
        .build()
    )
    t_env.create_temporary_view(view, t_env.from_data_stream(records, schema))
    statements = t_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO {sink} SELECT k, v, topic FROM {view}")  # noqa: S608 - names of ours
    statements.attach_as_datastream()
