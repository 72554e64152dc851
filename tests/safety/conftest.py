import pytest

from tests.safety.switches import Room


@pytest.fixture
def room(tmp_path):
    room = Room(tmp_path)
    yield room
    room.close()
