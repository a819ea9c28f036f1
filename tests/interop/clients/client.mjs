// Runs one case of a client script: `node <script> <case> <facts as JSON>`, and prints what it returns.
export async function run(cases) {
  const [name, facts] = process.argv.slice(2);
  console.log(JSON.stringify(await cases[name](JSON.parse(facts))));
}

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

export const subject = (facts) => ({
  subject_token: facts.key,
  subject_token_type: 'urn:keyswap:params:oauth:token-type:api-key',
});
