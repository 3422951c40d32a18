// The one door to the vendored view library: pages import from here, so that it is named in one place.
export { html, render } from "../../vendor/preact.js";
export { createContext, useCallback, useContext, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState }
  from "../../vendor/preact.js";
