"""Where pictures go: a window, or memory. Each brings the OpenGL context that the renderer draws with.

Made and used in one thread, which on macOS must be the main thread.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from streamingtalker.errors import UserError

_GONE = "The display is gone, and the window with it; switch it on and start the demo again."


class DisplayError(UserError):
    """No window, or no OpenGL."""


class ContextLostError(DisplayError):
    """The OpenGL context, or what it draws into, is lost; a canvas that is restored has another."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The graphics driver lost the picture ({why}); start the demo again, with --headless if that recurs."
        )
        self.why = why


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
        """Direct OpenGL calls here. Raises ContextLostError where that cannot be."""

    def show(self) -> None:
        """Swap buffers: what was drawn is shown."""

    def restore(self) -> None:
        """Have another OpenGL context in place of a broken one. Raises DisplayError where there is none."""

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
        self._open()

    def make_current(self) -> None:
        """Direct OpenGL calls here. Raises ContextLostError where that cannot be."""
        try:
            self._platform.make_current()
        except Exception as error:
            raise ContextLostError(type(error).__name__) from error

    def show(self) -> None:
        """Nobody looks."""

    def restore(self) -> None:
        """Have another OpenGL context in place of a broken one. Raises DisplayError where there is none."""
        with contextlib.suppress(Exception):  # it is broken: nothing about that is news
            self.close()
        self._open()

    def close(self) -> None:
        """Free everything."""
        platform = self._platform
        try:
            platform.delete_context()
        finally:
            platform.delete_context = lambda: None  # pyrender would call it again, and free what another has got since

    def _open(self) -> None:
        try:
            self._platform = _hidden_platform()
            self._platform.init_context()
            self._platform.make_current()
        except Exception as error:  # EGL fails with assertions, ctypes and PyOpenGL errors alike
            raise DisplayError(
                f"OpenGL does not start ({type(error).__name__}: {error}); on Debian or Ubuntu run "
                "'sudo apt-get install libegl1 libgl1-mesa-dri'."
            ) from error


class WindowCanvas:
    """A real window: resizable, with keys."""

    visible = True

    def __init__(
        self, width: int, height: int, *, title: str = "StreamingTalker", fullscreen: bool = False, vsync: bool = True
    ) -> None:
        """Raises DisplayError where there is no display."""
        _load_opengl(None)
        self.closed = False  # the user asked for it
        self.lost = False  # the display is gone, with window and OpenGL context
        self._strokes: list[Stroke] = []
        self._held: set[str] = set()
        self._another = functools.partial(_open_window, title, vsync)
        self._open(width, height, fullscreen)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self._window.get_framebuffer_size()
        return max(width, 1), max(height, 1)

    def make_current(self) -> None:
        """Direct OpenGL calls here. Raises ContextLostError where that cannot be."""
        self._window.switch_to()
        if self._broken and not self.lost:
            raise ContextLostError(self._broken)

    def show(self) -> None:
        """Swap buffers: what was drawn is shown. Raises DisplayError where the display is gone."""
        self._window.flip()
        if self.lost:
            raise DisplayError(_GONE)

    def restore(self) -> None:
        """Open another window in place of a broken one. Raises DisplayError where there is no display any more."""
        if self.lost:
            raise DisplayError(_GONE)
        width, height = self._window.get_size()
        fullscreen = self._window.fullscreen
        self._on_deactivate()
        with contextlib.suppress(Exception):  # it is broken: nothing about that is news
            self._window.close()
        self._open(width, height, fullscreen)

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

    def _open(self, width: int, height: int, fullscreen: bool) -> None:
        try:
            self._window = self._another(width, height, fullscreen)
        except Exception as error:  # each platform of pyglet has its own
            raise DisplayError(
                f"No window opens ({type(error).__name__}: {error}); run with --headless to do without one."
            ) from error
        self._lifelines = _outlive_x_server(self._window, self._lose), _hear_x_errors(self._window, self._break)
        self._broken = ""  # why it cannot be drawn into any more
        self._window.push_handlers(
            on_key_press=self._on_press,
            on_key_release=self._on_release,
            on_text=self._on_text,
            on_deactivate=self._on_deactivate,
            on_close=self._on_close,
        )
        self._window.set_mouse_visible(not fullscreen)

    def _lose(self) -> None:
        self.lost = True

    def _break(self, why: str) -> None:
        self._broken = why

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


def _hear_x_errors(window: Any, broken: Callable[[str], None]) -> Any:  # noqa: ANN401 - pyglet's, and ctypes'
    """Have ``broken`` called, with the reason, when X refuses to draw into ``window``; keep what is returned.

    pyglet passes over every error. Those of older windows, and others that do no harm, are passed over here, too.
    """
    if not sys.platform.startswith("linux"):
        return None
    from ctypes import byref, c_int

    from pyglet.libs.x11 import xlib

    display, glx, unused = window.display._display, c_int(), c_int()
    xlib.XSync(display, False)  # what is wrong with older windows is told now
    xlib.XQueryExtension(display, b"GLX", byref(glx), byref(unused), byref(unused))
    ours = {window._window, window._view, window.context.glx_window}

    def tell(_display: object, event: Any) -> int:  # noqa: ANN401 - ctypes'
        error = event.contents
        if error.resourceid in ours or error.request_code == glx.value:
            broken(f"X error {error.error_code} of request {error.request_code}.{error.minor_code}")
        return 0

    handler = xlib.XErrorHandler(tell)
    xlib.XSetErrorHandler(handler)
    return handler


def _hidden_platform() -> Any:  # noqa: ANN401 - one of pyrender's platforms
    if sys.platform.startswith("linux"):
        from pyrender.platforms.egl import EGLPlatform

        return EGLPlatform(1, 1)
    from pyrender.platforms.pyglet_platform import PygletPlatform

    return PygletPlatform(1, 1)


def _open_window(title: str, vsync: bool, width: int, height: int, fullscreen: bool) -> Any:  # noqa: ANN401 - pyglet's
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
