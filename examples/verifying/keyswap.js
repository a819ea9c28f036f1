// Authenticates requests of nginx by introspection at Keyswap (njs). See nginx.conf.
import crypto from 'crypto';

async function check(r) {
    // Only JWTs are introspected. API keys are refused here.
    const bearer = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(r.headersIn.Authorization || '');
    if (!bearer) {
        return refuse(r, 401, 'Bearer');
    }
    let question = 'token=' + bearer[1];
    if (r.variables.keyswap_resources === 'on') {
        // The path as the service receives it. The scope of the answer is then what access records grant on it.
        question += '&resource=' + encodeURIComponent(r.variables.request_uri.split('?')[0]);
    }
    r.variables.keyswap_digest = crypto.createHash('sha256').update(question).digest('hex');
    const answer = await r.subrequest('/_keyswap', { method: 'POST', body: question });
    if (answer.status === 400) {
        return r.return(400); // a path that servers could read differently
    }
    if (answer.status !== 200) {
        r.error('keyswap: ' + answer.status);
        return r.return(503);
    }
    const token = JSON.parse(answer.responseText);
    const audiences = [].concat(token.aud || []);
    // The response may be cached, so `exp` is checked again.
    if (!token.active || !audiences.includes(r.variables.keyswap_audience) || token.exp <= Date.now() / 1000) {
        return refuse(r, 401, 'Bearer error="invalid_token"');
    }
    if (!(token.scope || '').split(' ').includes(r.variables.keyswap_scope)) {
        return refuse(r, 403, 'Bearer error="insufficient_scope"');
    }
    r.variables.keyswap_subject = token.sub;
    r.internalRedirect('@service');
}

function refuse(r, status, challenge) {
    r.headersOut['WWW-Authenticate'] = challenge;
    r.return(status);
}

export default { check };
