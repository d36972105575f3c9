"""Prints what the installed FastAPI answers to a null for a body field that has a default: 200 takes the default."""

import sys
import warnings

import fastapi
from fastapi import Body, FastAPI

warnings.simplefilter("ignore")  # the test client deprecates httpx, which is not what is asked here
from fastapi.testclient import TestClient  # noqa: E402

app = FastAPI()


@app.post("/")
def offset_of(offset: int = Body(0, ge=0), name: str = Body("")) -> int:  # noqa: FAST002 # as Prefect declares them
    """Give the offset back."""
    return offset + len(name)


answer = TestClient(app).post("/", json={"offset": None, "name": None})
sys.stdout.write(f"fastapi {fastapi.__version__}: {answer.status_code}\n")
