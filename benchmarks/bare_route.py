"""The floor under a demand row: a FastAPI route that checks the same body and answers a constant, by `port`."""

import sys

import uvicorn
from fastapi import FastAPI, Response

from serving.schemas import DemandRequest

app = FastAPI()


@app.post("/v1/demand")
async def demand(asked: DemandRequest) -> Response:
    """A byte for every row, and the status of an answer."""
    return Response(b"1" * len(asked.rows), media_type="application/json")


@app.get("/readyz")
async def ready() -> None:
    """It is."""


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", ws="none")
