"""Where pictures go: a window, or memory. Each brings the OpenGL context that the renderer draws with.

Made and used in one thread, which on macOS must be the main thread.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from streamingtalker.errors import UserError


class DisplayError(UserError):
    """No window, or no OpenGL."""


@dataclass(frozen=True)
class Stroke:
    """A key went down, or up."""

    key: str  # as in "F", "SPACE", "ESCAPE", "?"
    down: bool = True


class Canvas(Protocol):
    """Something with an OpenGL context of this thread, where pictures are shown."""

    visible: bool  # whether a finished picture must be copied to framebuffer 0
    lost: bool  # whether the OpenGL context is gone

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    def make_current(self) -> None:
        """Direct OpenGL calls here."""

    def show(self) -> None:
        """Swap buffers: what was drawn is shown."""

    def close(self) -> None:
        """Free everything."""


class OffscreenCanvas:
    """No window: pictures are only read back. EGL on Linux, a hidden window elsewhere."""

    visible = False
    lost = False

    def __init__(self, width: int, height: int) -> None:
        """Raises DisplayError where there is no OpenGL."""
        self.size = (width, height)
        _load_opengl("egl" if sys.platform.startswith("linux") else None)
        try:
            self._platform = _hidden_platform()
            self._platform.init_context()
            self._platform.make_current()
        except Exception as error:  # EGL fails with assertions, ctypes and PyOpenGL errors alike
            raise DisplayError(
                f"OpenGL does not start ({type(error).__name__}: {error}); on Debian or Ubuntu run "
                "'sudo apt-get install libegl1 libgl1-mesa-dri'."
            ) from error

    def make_current(self) -> None:
        """Direct OpenGL calls here."""
        self._platform.make_current()

    def show(self) -> None:
        """Nobody looks."""

    def close(self) -> None:
        """Free everything."""
        self._platform.delete_context()


class WindowCanvas:
    """A real window: resizable, with keys."""

    visible = True

    def __init__(
        self, width: int, height: int, *, title: str = "StreamingTalker", fullscreen: bool = False, vsync: bool = True
    ) -> None:
        """Raises DisplayError where there is no display."""
        _load_opengl(None)
        try:
            self._window = _open_window(width, height, title, fullscreen, vsync)
        except Exception as error:  # each platform of pyglet has its own
            raise DisplayError(
                f"No window opens ({type(error).__name__}: {error}); run with --headless to do without one."
            ) from error
        self.closed = False  # the user asked for it
        self.lost = False  # the display is gone, with window and OpenGL context
        self._lifeline = _outlive_x_server(self._window, self._lose)
        self._strokes: list[Stroke] = []
        self._held: set[str] = set()
        self._window.push_handlers(
            on_key_press=self._on_press,
            on_key_release=self._on_release,
            on_text=self._on_text,
            on_deactivate=self._on_deactivate,
            on_close=self._on_close,
        )
        self._window.set_mouse_visible(not fullscreen)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self._window.get_framebuffer_size()
        return max(width, 1), max(height, 1)

    def make_current(self) -> None:
        """Direct OpenGL calls here."""
        self._window.switch_to()

    def show(self) -> None:
        """Swap buffers: what was drawn is shown. Raises DisplayError where the display is gone."""
        self._window.flip()
        if self.lost:
            raise DisplayError("The display is gone, and the window with it; switch it on and start the demo again.")

    def poll(self) -> list[Stroke]:
        """Let the window react to the user; what the keys did since the last call. Held keys do not repeat."""
        self._window.dispatch_events()
        strokes, self._strokes = self._strokes, []
        return strokes

    def toggle_fullscreen(self) -> None:
        """Fill the screen, without a pointer, or be a window again."""
        self._window.set_fullscreen(not self._window.fullscreen)
        self._window.set_mouse_visible(not self._window.fullscreen)

    def close(self) -> None:
        """Close the window."""
        if not self.lost:
            self._window.close()

    def _lose(self) -> None:
        self.lost = True

    def _on_press(self, symbol: int, _modifiers: int) -> bool:
        self._held.add(name := _name(symbol))
        self._strokes.append(Stroke(name))
        return True  # handled: pyglet itself would close the window at Escape

    def _on_release(self, symbol: int, _modifiers: int) -> None:
        self._held.discard(name := _name(symbol))
        self._strokes.append(Stroke(name, down=False))

    def _on_text(self, text: str) -> None:
        """Where the question mark is differs from keyboard to keyboard."""
        if text == "?":
            self._strokes.append(Stroke(text))

    def _on_deactivate(self) -> None:
        """Another window gets the keys: it is there that those now held will go up."""
        self._strokes += [Stroke(name, down=False) for name in sorted(self._held)]
        self._held.clear()

    def _on_close(self) -> bool:
        self.closed = True
        return True


def _name(symbol: int) -> str:
    from pyglet.window import key

    return key.symbol_string(symbol)


def _outlive_x_server(window: Any, lost: Callable[[], None]) -> tuple[Any, ...]:  # noqa: ANN401 - pyglet's
    """Where Xlib would end the process without a word, have it call ``lost``; keep what is returned.

    Film, trace and server are ended in good order then. Other window systems and Xlib before 1.7 know no such thing.
    """
    if not sys.platform.startswith("linux"):
        return ()
    import ctypes

    xlib = ctypes.CDLL("libX11.so.6")  # as loaded already
    if not hasattr(xlib, "XSetIOErrorExitHandler"):
        return ()
    quiet = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _display: 0)
    instead_of_exit = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda _display, _data: lost())
    xlib.XSetIOErrorHandler(quiet)
    xlib.XSetIOErrorExitHandler(ctypes.cast(window.display._display, ctypes.c_void_p), instead_of_exit, None)
    return quiet, instead_of_exit


def _hidden_platform() -> Any:  # noqa: ANN401 - one of pyrender's platforms
    if sys.platform.startswith("linux"):
        from pyrender.platforms.egl import EGLPlatform

        return EGLPlatform(1, 1)
    from pyrender.platforms.pyglet_platform import PygletPlatform

    return PygletPlatform(1, 1)


def _open_window(width: int, height: int, title: str, fullscreen: bool, vsync: bool) -> Any:  # noqa: ANN401 - pyglet's
    import pyglet

    pyglet.options["shadow_window"] = False
    import pyglet.window

    config: Any = pyglet.gl.Config(  # type: ignore[abstract]  # pyglet makes the platform's own of it
        double_buffer=True, major_version=3, minor_version=3, depth_size=0
    )
    size = {} if fullscreen else {"width": width, "height": height}
    return pyglet.window.Window(
        **size, caption=title, resizable=True, fullscreen=fullscreen, vsync=vsync, config=config
    )


def _load_opengl(platform: str | None) -> None:
    """Import PyOpenGL for that platform (None: the system's own). One process can only ever use one."""
    if "OpenGL.platform" in sys.modules:
        loaded = type(sys.modules["OpenGL.platform"].PLATFORM).__name__.lower()
        if (platform == "egl") != loaded.startswith("egl"):
            raise DisplayError("A process draws either in windows or off-screen; start another one for the other.")
    elif platform is not None:
        os.environ["PYOPENGL_PLATFORM"] = platform  # PyOpenGL has no other way to be told
    else:
        os.environ.pop("PYOPENGL_PLATFORM", None)
    import OpenGL

    if platform == "egl":
        import OpenGL.EGL  # cannot be imported without error checking
    OpenGL.ERROR_CHECKING = OpenGL.ERROR_LOGGING = False  # asking after every call doubles the calls
    import pyrender  # noqa: F401 - imports OpenGL.GL, for which the switches above must be set
