// Who asks, where the service wants to know: name and password, and the tokens got for them. The
// access token is in memory, the refresh token in this tab's storage, till the tab is closed.

import { find } from "./elements.js";

const BASE = new URL(".", document.baseURI);
const KEPT = "refresh-token";
const MOST_TRIES = 3;

let accessToken = "";
let renewal = null; // the one that all questions wait for

/** As `fetch`, in the name of who signed in; where the service wants a name, it is asked for first. */
export async function fetchSigned(url, options = {}) {
  for (let tries = 1; ; tries += 1) {
    const used = accessToken;
    const answer = await send(url, options, used);
    if (answer.status !== 401 || tries === MOST_TRIES) return answer;
    if (used === accessToken) await renew();
    options.signal?.throwIfAborted();
  }
}

function send(url, options, token) {
  const naming = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(url, { ...options, headers: { ...options.headers, ...naming } });
}

/** Whether somebody signed in: links and commands need a name too, then. */
export function isSignedIn() {
  return accessToken !== "";
}

/** Get another access token: by the refresh token if there is one, else by a password. */
export function renew() {
  renewal ??= getToken().finally(() => (renewal = null));
  return renewal;
}

async function getToken() {
  const kept = read();
  accessToken = "";
  if (kept) {
    const answer = await post("token", { grant_type: "refresh_token", refresh_token: kept });
    if (answer.ok) return take(await answer.json());
    if (answer.status === 400) keep(""); // it is over; anything else passes
  }
  return askPassword();
}

function askPassword() {
  const dialog = find("sign-in");
  const form = dialog.querySelector("form");
  dialog.showModal();
  return new Promise((done) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const { username, password, submit } = form.elements;
      submit.disabled = true;
      const fault = await trySignIn(username.value, password.value);
      submit.disabled = false;
      password.value = "";
      find("sign-in-fault").textContent = fault;
      if (fault) return password.focus();
      dialog.close();
      done();
    };
  });
}

/** Sign in; what went wrong, in words, or nothing. */
async function trySignIn(username, password) {
  try {
    const answer = await post("token", { grant_type: "password", username, password });
    const body = await answer.json();
    if (!answer.ok) return body.detail;
    take(body);
    return "";
  } catch {
    return "The service does not answer: start it with make serve, then try again.";
  }
}

function take({ access_token: access, refresh_token: refresh }) {
  accessToken = access;
  keep(refresh);
  find("sign-out").hidden = false;
}

/** End the sign-in, here and in the service. */
export async function signOut() {
  const kept = read();
  keep("");
  if (kept) await post("token/revoke", { token: kept }).catch(() => null);
  location.reload();
}

function post(path, fields) {
  return fetch(new URL(path, BASE), { method: "POST", body: new URLSearchParams(fields) });
}

function read() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // storage is shut off: the password is asked for after each loading
  }
}

function keep(token) {
  try {
    if (token) sessionStorage.setItem(KEPT, token);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // as above
  }
}
