// What nginx asks Keyswap about a request before it lets it through (njs): see nginx.conf.
import crypto from 'crypto';

async function check(r) {
    // Of the form of a JWT: API keys do not come this far.
    const shown = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(r.headersIn.Authorization || '');
    if (!shown) {
        return refuse(r, 401, 'Bearer');
    }
    r.variables.keyswap_digest = crypto.createHash('sha256').update(shown[1]).digest('hex');
    const answer = await r.subrequest('/_keyswap', { method: 'POST', body: 'token=' + shown[1] });
    if (answer.status !== 200) {
        r.error('keyswap: ' + answer.status);
        return r.return(503);
    }
    const told = JSON.parse(answer.responseText);
    const audiences = [].concat(told.aud || []);
    // An answer may have been kept for a while: `exp` is looked at again.
    if (!told.active || !audiences.includes(r.variables.keyswap_audience) || told.exp <= Date.now() / 1000) {
        return refuse(r, 401, 'Bearer error="invalid_token"');
    }
    if (!(told.scope || '').split(' ').includes(r.variables.keyswap_scope)) {
        return refuse(r, 403, 'Bearer error="insufficient_scope"');
    }
    r.variables.keyswap_subject = told.sub;
    r.internalRedirect('@service');
}

function refuse(r, status, challenge) {
    r.headersOut['WWW-Authenticate'] = challenge;
    r.return(status);
}

export default { check };
