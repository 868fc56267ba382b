"""The routes of the service.

In: a store, limits and a token. Out: an ASGI application.
This file holds no logic of its own: guard.py admits, schemas.py checks, desk.py answers.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi import Query as Param
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from relatum.errors import MissingItemError, RelatumError, TableError
from relatum.items import Item
from relatum.serve import schemas
from relatum.serve.batcher import BusyError
from relatum.serve.desk import Desk
from relatum.serve.guard import LIMITS, Counts, Guard, Limits, Refusal, log
from relatum.store import Store

KINDS = {404: "not_found", 405: "not_allowed", 413: "too_large", 415: "unsupported"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
PAGE = {
    file.name: file.read_bytes()
    for file in (files("relatum.serve") / "page").iterdir()
    if file.name.rpartition(".")[2] in TYPES
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schemas.Problem, "description": "What the caller can fix"},
    "5XX": {"model": schemas.Problem, "description": "What the caller cannot fix"},
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}},
    204: {"description": "The item has no picture"},
}
token = HTTPBearer(auto_error=False, description="The token that the service was started with.")
api = APIRouter(prefix="/v1", responses=ANSWERS)
rest = APIRouter()


async def _desk(request: Request) -> Desk:
    return request.app.state.desk


async def _search_body(request: Request) -> schemas.Search:
    """Read JSON, or a form with the same JSON as `query` and a file as `image`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return schemas.Search.model_validate_json(await request.body())
    if kind != "multipart/form-data":
        raise HTTPException(415, f"expected application/json or multipart/form-data, got {kind!r}")
    async with request.form(max_files=1, max_fields=1) as form:
        query, image = form.get("query", "{}"), form.get("image")
        if not isinstance(query, str) or image is None or isinstance(image, str):
            raise HTTPException(400, "expected a field 'query' with JSON and a file 'image'")
        values = JSON_OBJECT.validate_json(query)
        return schemas.Search.model_validate({**values, "image": await image.read()})


TheDesk = Annotated[Desk, Depends(_desk)]
Body = Annotated[schemas.Search, Depends(_search_body)]
JSON_OBJECT = TypeAdapter(dict[str, Any])
FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "query": {"type": "string", "examples": ['{"relation": "give light", "k": 5}']},
        "image": {"type": "string", "format": "binary"},
    },
}
SEARCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": schemas.Search.model_json_schema()},
            "multipart/form-data": {"schema": FORM},
        },
    }
}


@api.post("/search", openapi_extra=SEARCH_BODY)
async def search(desk: TheDesk, body: Body) -> schemas.Found:
    """Find what stands in a relation to an item, a text, a picture, or a text and a picture."""
    return schemas.Found(hits=await desk.search(body))


@api.post("/embed")
async def embed(desk: TheDesk, body: schemas.Embed) -> schemas.Vectors:
    """Return vectors of texts and pictures under a relation."""
    return schemas.Vectors(model=desk.store.fingerprint, vectors=await desk.embed(body))


@api.post("/relations-between")
async def relations_between(desk: TheDesk, pair: schemas.Pair) -> schemas.Ties:
    """Tell which relations hold between two items."""
    look = desk.store.relations_between
    return schemas.Ties(relations=await desk.read(lambda: look(pair.source, pair.target)))


@api.get("/relations")
async def relations(desk: TheDesk) -> schemas.Relations:
    """List the relations that the model knows, and the columns that filters may name."""
    known, about = list(desk.store.relations), desk.store.about
    return schemas.Relations(relations=known, about=about, columns=await desk.columns())


@api.get("/items")
async def browse(
    desk: TheDesk,
    where: schemas.Where = None,
    limit: Annotated[int, Param(ge=1, le=schemas.MOST_K)] = 50,
    offset: Annotated[int, Param(ge=0, le=schemas.MOST_OFFSET)] = 0,
) -> schemas.Entries:
    """List items that pass a filter, a page at a time."""
    total, items = await desk.browse(where, limit, offset)
    return schemas.Entries(total=total, items=[_entry(item) for item in items])


@api.post("/items", status_code=201, dependencies=[Security(token)])
async def add(desk: TheDesk, body: schemas.NewItems) -> schemas.Written:
    """Add items, or replace those whose id is taken, in one step."""
    await desk.add(body.items)
    return schemas.Written(items=len(body.items))


@api.get("/items/{id:path}")
async def item(desk: TheDesk, id: schemas.Id) -> schemas.Entry:
    """Return one item."""
    (found,) = await desk.read(lambda: desk.store.items([id]))
    return _entry(found)


@api.put("/items/{id:path}", dependencies=[Security(token)])
async def put(desk: TheDesk, id: schemas.Id, body: schemas.Content) -> schemas.Written:
    """Write one item whole; what was there is replaced."""
    await desk.add([schemas.NewItem.model_construct(id=id, **dict(body))])
    return schemas.Written(items=1)


@api.delete("/items/{id:path}", dependencies=[Security(token)])
async def delete(desk: TheDesk, id: schemas.Id) -> schemas.Written:
    """Delete one item."""
    await desk.delete(id)
    return schemas.Written(items=1)


@api.get("/thumbnails/{id:path}", response_class=Response, responses=PICTURE)
async def thumbnail(desk: TheDesk, id: schemas.Id) -> Response:
    """Return an item's picture, at most 160 pixels a side; 204 where it has none."""
    picture = await desk.read(lambda: desk.store.thumbnail(id))
    headers = {"cache-control": "private, max-age=60"}
    if picture is None:
        return Response(status_code=204, headers=headers)
    return Response(picture, media_type="image/webp", headers=headers)


@rest.get("/health", responses=ANSWERS)
async def health(request: Request, desk: TheDesk) -> schemas.Health:
    """Tell that the service is up, and what it serves."""
    return schemas.Health(
        status="ok",
        catalogue=desk.store.catalogue,
        model=desk.store.fingerprint,
        items=await desk.read(lambda: len(desk.store)),
        writable=request.app.state.is_writable,
    )


@rest.get("/metrics", response_class=Response, responses=ANSWERS)
async def metrics(request: Request) -> Response:
    """Return counts for Prometheus."""
    text = generate_latest(request.app.state.counts.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@rest.get("/", include_in_schema=False)
@rest.get("/page/{name}", include_in_schema=False)
async def page(name: str = "index.html") -> Response:
    """Return a file of the page."""
    if name not in PAGE:
        raise HTTPException(404, "no such file")
    headers = {"content-security-policy": PAGE_POLICY, "cache-control": "no-cache"}
    return Response(PAGE[name], media_type=TYPES[name.rpartition(".")[2]], headers=headers)


def create_app(
    store: Store, *, token: str | None = None, is_public: bool = False, limits: Limits = LIMITS
) -> FastAPI:
    """Return the service of a store.

    Writes need the `token` and are off without one; where the service `is_public`, reads need it
    too.
    """
    counts = Counts()
    desk = Desk(store, limits, counts)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await desk.close()

    app = FastAPI(
        title="relatum",
        description="Search by item, text or picture under relations in plain language.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.desk, app.state.counts, app.state.is_writable = desk, counts, token is not None
    app.include_router(api)
    app.include_router(rest)
    app.add_middleware(Guard, limits=limits, token=token, is_public=is_public, counts=counts)
    for kind in (RelatumError, BusyError, HTTPException, RequestValidationError, ValidationError):
        app.add_exception_handler(kind, _refuse)
    return app


def _entry(item: Item) -> schemas.Entry:
    return schemas.Entry(
        id=item.id,
        text=item.text,
        has_image=item.image is not None,
        metadata=dict(item.metadata),
    )


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """Hand what went wrong to the guard, which answers in the one error model."""
    raise _refusal(error, str(request.app.state.desk.store.path)) from error


def _place(loc: Sequence[int | str]) -> str:
    """Name a field; what a validator is called is left out."""
    return ".".join(str(part) for part in loc if "function-" not in str(part))


def _refusal(error: Exception, place: str) -> Refusal:
    if isinstance(error, BusyError):
        return Refusal(503, "busy", "too many requests wait; try again in a second")
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, KINDS.get(error.status_code, "invalid"), error.detail)
    if isinstance(error, RequestValidationError | ValidationError):
        faults = [f"{_place(one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
        return Refusal(422, "invalid", "; ".join(faults))
    message = str(error).removeprefix(f"{place}: ")  # where the store lies is not for strangers
    if isinstance(error, TableError):  # not of the caller's making
        log.error("%s", error)
        return Refusal(500, "internal", "the store cannot be used; the service's log says why")
    if isinstance(error, MissingItemError):
        return Refusal(404, "not_found", message)
    return Refusal(400, "invalid", message)
