/** Version of this package, announced to the server. */
export const VERSION = "0.1.0";
