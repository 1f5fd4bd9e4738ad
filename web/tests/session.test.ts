import { expect, test, vi } from 'vitest';
import { AuthApi } from '../src/auth';
import { Session, SessionEnded } from '../src/session';
import { memoryStorage, type Storage } from '../src/storage';

/** An auth service that rotates refresh tokens r1, r2, ... and answers `status` when told to. */
class Service {
  issued = 1;
  status = 200;
  asked: string[] = [];

  readonly fetch: typeof fetch = async (_url, init) => {
    await Promise.resolve();
    const body = JSON.parse(String(init?.body)) as { refresh_token?: string };
    this.asked.push(body.refresh_token ?? '');
    if (this.status === 0) throw new TypeError('network');
    if (this.status !== 200) return new Response('{"code":"invalid_token"}', { status: this.status });
    this.issued += 1;
    return Response.json({
      access_token: `a${this.issued}`,
      refresh_token: `r${this.issued}`,
      expires_in: 600,
      user: { id: 'u1', name: 'Ann' },
    });
  };
}

const grant = { accessToken: 'a1', refreshToken: 'r1', expiresIn: 600, user: { id: 'u1', name: 'Ann' } };

function signedIn(service: Service, storage: Storage = memoryStorage()): Session {
  const session = new Session(new AuthApi('http://auth', service.fetch), storage, undefined);
  session.start(grant);
  return session;
}

test('the granted token is handed out once, then a new one is bought', async () => {
  const session = signedIn(new Service());
  expect(await session.token()).toBe('a1');
  expect(await session.token()).toBe('a2');
  expect(await session.token()).toBe('a3');
});

test('askers at one time share one refresh', async () => {
  const service = new Service();
  const session = signedIn(service);
  await session.token();
  expect(await Promise.all([session.token(), session.token(), session.token()])).toEqual(['a2', 'a2', 'a2']);
  expect(service.asked).toEqual(['r1']);
});

test('a refresh uses the token another tab has rotated in', async () => {
  const service = new Service();
  const storage = memoryStorage();
  const one = signedIn(service, storage);
  await one.token();
  const two = new Session(new AuthApi('http://auth', service.fetch), storage, undefined);
  expect(two.user?.name).toBe('Ann');
  await two.token();
  await one.token();
  expect(service.asked).toEqual(['r1', 'r2']);
});

test('a 401 ends the session', async () => {
  const service = new Service();
  const session = signedIn(service);
  const words: string[] = [];
  session.ended.listen((said) => words.push(said));
  await session.token();
  service.status = 401;
  await expect(session.token()).rejects.toBeInstanceOf(SessionEnded);
  expect(session.user).toBeNull();
  expect(words).toEqual(['Your session has ended. Sign in again.']);
});

test.each([0, 500, 503, 429])('trouble of kind %i does not end the session', async (status) => {
  const service = new Service();
  const session = signedIn(service);
  await session.token();
  service.status = status;
  await expect(session.token()).rejects.toMatchObject({ name: 'AuthProblem', status });
  expect(session.user?.id).toBe('u1');
  service.status = 200;
  expect(await session.token()).toBe('a2');
});

test('an answer that arrives after the sign-out does not bring the session back', async () => {
  const session = signedIn(new Service());
  await session.token();
  const late = session.token();
  session.end('');
  await expect(late).rejects.toBeInstanceOf(SessionEnded);
  expect(session.user).toBeNull();
});

test('signing out tells the server, and succeeds here even if that fails', async () => {
  const service = new Service();
  const session = signedIn(service);
  service.status = 0;
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  await session.signOut();
  expect(warned).toHaveBeenCalledOnce();
  warned.mockRestore();
  expect(service.asked).toEqual(['r1']);
  expect(session.user).toBeNull();
});

test('a sign-out in another tab is followed', () => {
  const storage = memoryStorage();
  const session = signedIn(new Service(), storage);
  const words: string[] = [];
  session.ended.listen((said) => words.push(said));
  session.follow('parley.session', grant.user);
  expect(words).toEqual([]);
  storage.remove('parley.session');
  session.follow('something.else', grant.user);
  expect(words).toEqual([]);
  session.follow('parley.session', grant.user);
  expect(words).toEqual(['You signed out in another tab.']);
});
