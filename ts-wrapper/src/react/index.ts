export { useWSE, useWSEClient, type UseWSE } from "./use-wse.js";
