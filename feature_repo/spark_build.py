"""The lake read and the views computed by Spark; DuckDB only keeps which of their rows are new versions."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import ibis
from ibis import _

from feature_repo.catalog import View
from feature_repo.transformations.sources import Sources
from poplift.contracts.schema import Contract
from poplift.contracts.tables import contract
from poplift.lake import Lake, LakeError
from poplift.market_week import SALES_DELAY
from poplift.spark import spark_session


class SparkCompute:
    """The engine of `feature_repo.build` where one machine is not enough; its workers must see lake and `scratch`."""

    def __init__(self, conf: Mapping[str, str], *, scratch: Path) -> None:
        self._session = spark_session(conf)
        self._backend = ibis.pyspark.from_connection(self._session)
        self._scratch = scratch

    def sources(self, lake: Lake, *, as_of: datetime) -> Sources:
        """`feature_repo.build.sources` as Spark tables; raises LakeError for a table that was never ingested."""
        tables = {field.name: self._known(lake, field.name, as_of) for field in dataclasses.fields(Sources)}
        landed = tables["weeks"].filter(_.closes_at <= ibis.literal(as_of - SALES_DELAY)).select("week")
        managed = tables["products"].filter(_.ppg_id.notnull()).select("product_id")
        tables["pos_lines"] = tables["pos_lines"].semi_join(landed, "week")
        tables["promotions"] = tables["promotions"].semi_join(managed, "product_id")
        return Sources(**tables)

    def query(self, view: View, tables: Sources) -> str:
        """Compute the view and hand its rows over as Parquet; SQL of DuckDB that reads them."""
        folder = self._scratch / view.name
        rows = self._session.sql(str(self._backend.compile(view.build(tables))))
        rows.write.mode("overwrite").parquet(str(folder))
        return f"SELECT * FROM read_parquet('{folder}/*.parquet')"

    def _known(self, lake: Lake, table: str, as_of: datetime) -> ibis.Table:
        parts = [str(part) for part in lake.parts(table)]
        if not parts:
            raise LakeError(f"table {table} is empty under {lake.root}: run `poplift ingest` first")
        name = f"lake_{table}"
        self._session.read.option("mergeSchema", "true").parquet(*parts).createOrReplaceTempView(name)
        known = contract(table)
        rows = self._backend.table(name).select(*known.column_names).filter(_.created_at <= ibis.literal(as_of))
        return rows if lake.has_unique_keys(table) else _newest_version(rows, known)


def _newest_version(rows: ibis.Table, known: Contract) -> ibis.Table:
    # Equal created_at can only come from two parts; the order of the values decides as it does in the lake.
    # Named twice, Ibis keeps only the last order of created_at.
    rest = [ibis.asc(c, nulls_first=False) for c in known.column_names if c not in {*known.key, "created_at"}]
    rank = ibis.row_number().over(ibis.window(group_by=known.key, order_by=[ibis.desc("created_at"), *rest]))
    return rows.mutate(version=rank).filter(_.version == 0).drop("version")
